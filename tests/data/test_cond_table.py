"""Tables of parameters, as people have them.

Kinds: rows by file, by folder and file, by folder; one row for several files; semicolons, tabs,
decimal commas; thousands; repeated, missing and nameless columns; text; the file's name elsewhere;
one file in two rows by two spellings; other units than those of the model; other encodings.
"""

import pytest

from lrsa_geo.data import CondTable
from lrsa_geo.data.columns import cond_row
from lrsa_geo.mesh import Field, MeshError

FILES = [f"runs/case{i}/mesh.vtu" for i in range(12)]


def table(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    return CondTable.read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "name",
    ["case{}/mesh.vtu", "case{}/mesh", "case{}", "runs/case{}", "./runs/case{}/mesh.vtu",
     "case{}\\mesh.vtu", "case{}/", "/runs/case{}"],
)  # fmt: skip
def test_the_end_of_the_path_is_matched(tmp_path, name):
    rows = "".join(f"{name.format(i)},{i}\n" for i in range(12))
    cond = table(tmp_path, "file,v\n" + rows)
    cond.check(FILES)
    assert [cond.of(file)["v"] for file in FILES] == list(range(12))
    assert [cond.of(f"/data/{file}")["v"] for file in FILES] == list(range(12))


def test_the_row_that_says_more_counts(tmp_path):
    cond = table(tmp_path, "file,v\nmesh.vtu,1\ncase1/mesh.vtu,2\ncase1,3\n")
    assert cond.of("case1/mesh.vtu") == {"v": 2}
    assert cond.of("case2/mesh.vtu") == {"v": 1}
    assert cond.of("case1/other.vtu") == {"v": 3}


def test_one_row_for_several_files_is_refused(tmp_path):
    for text in ("mesh.vtu,5", "mesh,5"):
        with pytest.raises(MeshError, match=r"case1/mesh.vtu: row .* of .*t.csv fits .*case0/mesh"):
            table(tmp_path, f"file,v\n{text}\n").check(FILES)


def test_a_part_of_a_name_is_no_match(tmp_path):
    cond = table(tmp_path, "file,v\nase1,1\ncase,2\nesh.vtu,3\n")
    with pytest.raises(MeshError, match=r"case1/mesh\.vtu: .*no row for it; add one named 'mesh"):
        cond.of("runs/case1/mesh.vtu")


@pytest.mark.parametrize(
    "text",
    ["file;v;w\na;0,5;1e-3\n", "file;v;w\na;0.5;0.001\n", "file\tv\tw\na\t0,5\t1e-3\n",
     'file,v,w\na,"0.5",.001\n', "\ufefffile, v ,w\n\n a ,0.5, 0.001\n"],
)  # fmt: skip
def test_marks_between_columns(tmp_path, text):
    cond = table(tmp_path, text)
    assert cond.of("a.vtu") == {"v": 0.5, "w": 0.001}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('file,v\na,"0,5"\n', "'0,5': what is the comma"),
        ("file;v;w\na;0,5;1.5\n", "'0,5' and '1.5': what is the comma"),
        ("file,v\na,0,5\n", "row 2 has 3 entries"),
        ("file,v,v\na,1,2\n", "2 columns called 'v'"),
        ("file,v [m],v [s]\na,1,2\n", "2 columns called 'v'"),
        ("file,v,\na,1,\n", "column 3 has no name"),
        ("a0,1\na1,2\n", "the first line is 1, expected names"),
        ("file,v,name\na,1,x\n", "'x' in column 'name'"),
        ("v,file\n1,a0\n", "the column 'file' is number 2"),
        ("file,v\na,1\na,2\n", "'a' is there twice"),
        ("file,v\na,inf\n", "NaN or infinity"),
        ("file,v\na,1\n./a,2\n", "row 3: 'a' is there twice"),
        ("file,v\nc/a,1\nc/a.vtu,2\n", "rows 2 and 3: 'c/a' and 'c/a.vtu' are one file"),
        ("file;v\na;1,500\nb;12,000\n", "'1,500': what is the comma"),
        ("file,v\na,1_000\n", "could not convert '1_000'"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"t\.csv: .*{message}"):
        table(tmp_path, text)


def test_a_decimal_comma_is_told_from_thousands_by_another_row(tmp_path):
    cond = table(tmp_path, "file;v\na;1,500\nb;1,5e3\nc;0,125\n")
    assert [cond.of(file)["v"] for file in "abc"] == [1.5, 1500, 0.125]


def test_another_encoding_is_refused(tmp_path):
    for encoding in ("latin-1", "utf-16"):
        (tmp_path / "t.csv").write_bytes("file,größe\na,1\n".encode(encoding))
        with pytest.raises(ValueError, match=r"t\.csv: is no text in UTF-8 .*save it as such"):
            CondTable.read(tmp_path / "t.csv")


def test_values_come_in_the_units_of_the_model(tmp_path):
    wanted = (Field("t", "K"), Field("angle", "deg"), Field("n", "1"))
    cond = table(tmp_path, "file,n,angle [rad],t [degC],other [furlong]\na,3,3.14159265,20,1\n")
    found = cond.in_units(wanted).of("a.vtu")
    assert found == pytest.approx({"n": 3, "angle": 180, "t": 293.15, "other": 1})
    cond = table(tmp_path, "file,n,angle,t\na,3,90,290\n")  # as fields of mesh files
    assert cond.in_units(wanted).of("a.vtu") == {"n": 3, "angle": 90, "t": 290}
    for unit in ("m", "furlong"):
        cond = table(tmp_path, f"file,angle [{unit}]\na,3\n")
        with pytest.raises(ValueError, match=rf"t\.csv: column 'angle \[{unit}\]': .*'angle \[deg"):
            cond.in_units(wanted)
    cond = table(tmp_path, "file,n [m]\na,3\n")
    with pytest.raises(ValueError, match="1 may mean that none was named"):
        cond.in_units(wanted)


def test_a_vector_has_a_column_for_each_component(tmp_path):
    force = Field("force", "N", ("x", "y", "z"))
    text = "file,force_z [kN],mach,force_x,force_y [N]\na,3,0.5,1,2\n"
    given = table(tmp_path, text).in_units((Field("mach"), force)).of("a.vtu")
    row = cond_row((Field("mach"), force), given, "a.vtu")
    assert row.tolist() == [[0.5, 1, 2, 3000]]
    with pytest.raises(MeshError, match=r"a.vtu: the parameters \['force_y'\] are not given"):
        cond_row((force,), {"force_x": 1, "force_z": 2, "force": 5}, "a.vtu")

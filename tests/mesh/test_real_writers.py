"""Files as other programs wrote them, of kinds that no library here writes.

Kinds: CGNS in ADF and in HDF5, with steps; VTU of GetFEM, whose header of bytes is a float; meshes
of Gmsh's version 1 and of Fluent; decks of pyNastran without ENDDATA; results of CalculiX at nodes
of a network; fluid elements of CalculiX; empty lists of a series; cases of OpenFOAM whose steps or
mesh are of its processors alone; XDMF whose arrays are not there.
"""

import base64
import lzma
import re

import h5py
import numpy as np
import pytest
from mesh_files import MSH2, vtu

from lrsa_geo.mesh import MeshError, read_mesh

# One hexahedron with a field of three steps, written by libcgns 3.4 as ADF.
ADF = """
/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4D//BTJdAGAqEGp4cpXPJjh2dvax+ChA0EEThgBp0c2ErcuStXRqTfaWnW49z1
RkV2yUpcojArmGtavT4ZhiXhnnJEgsxAN5tnPDvSb1RLiRGpPr7cFBCG8pj8lwzWyJbzq3vZ2NBLvTv53AYibkNa1S9kyf
9uu1Nf5gl6OjckcOfIfrlqPYtrrMH704YP3nGplqDYJK6JK96+wyLnugNpgnbuogm30btJoE7Dk5gB14Gd+SZcKkiHJVAd
RhatrW1gbXp7Qz9UWrzWxgD0Vk2GN1uvFcVkL+skw9p7K6vLg03JbpmIMFfEu5xr4rvkgwrbQRcWwzj2tFILiCWO3B9dTs
3x+OBYUNh+gsC2F1Yf5P2P6hj84bYblssXvZSzRD7acErzRhfuPSsZ2430Tk4Tw7RJSvNVridbcoxcOFUCRuxx7R2Y5pL6
P0E0PCx+6wmb1SJ/ISaBzIgYvMShy3rEo/Kv7g7DtydyPQweLDxd3Ysm63uzY63HjsCRe/badalEmGPbMtB9eOc4g/gso4
w0zD2j8zgiyrUkmPKsgdQbQmi70QkRFpE+FFPgDtZktCnuQusJcuud7IfyIk3OsSRGGJHab1GoN06uikcqebHwzK5Df1jw
41GxjVa663NXKsXUpVL9HnEh2ZQxc0QK7lz1sSGtiZJMNz20GE6tXWj12DItctU352T15mLBhmjZxFSiVt3CJ9G2CsBk4e
tr0Y+FO3mOlDcn1ccm/PcZIvm95jRRw/ChpbnrBf+ObOrB+tIdWU/Vh+hEkw3+TeUCzDePZpg3yjCEAbEM5rlrZNZhxpRD
TEGNLihg6q37eHIkRrQ0Io6AB8j4fSgWNdqNn5yijImBT1KLK0E7T+BsBucHQSZjnVsDbnCBx3wI3K4UrimpDO9bN7GB4v
MS4Udn9mX1jJ4foKR74J6Vs6l9qNxH/2f1xPqBwyiMDBUzPSYmwKCt4t81wddrw2l6iv4NcnAR5XjTc/AQJ48NhUHF8D8+
QPv7OzyStrQevMZF3A66e51klzUyy64QszlRWjpIA7j63gNScAGhSFE0fGkNjw/qEho3RnSWujNEYd0lZMVOzaWE+oeE/c
E0S1/vIVrI7a3OV5/lqlb0hXUGsFBFYL/NDtpptIJTv4QioL3y3aoGNNsW6200K0wjrB1k0/9a1Y6DgjyxgxLC3v8hG6Mu
vJKE9ZHpfV8LPBK4J7qUk8PAWv85igi5d/tCwFf3tOYhOdDQyDSe+2Eqiowimy8TLSccaHQuV22KypBSug7AZuWae0DPGT
ETCe+liN/kl8FMRx/u37BHc3ysm/B19i/70U56Nb10yGM93XiA0PS7IoAtVxfgGBTL/Hs8mrCxb2B8gi0FI6b9I/ugwezg
ZNWu3Xbs0LZThcbiBsvWT8Nqkyluy0L9Z6bGxSe7RjLmpKz/1bGVHGkDwrxjeVkb8cZOe+nBkWNWRRULtSblqgV40dWrtV
9QZiO8+s9Tjy3Gr0UbVi70ZLF+tzzvD0puBwVrUvT87e0vZfGnRqQSe6JPfr6Nq/dAyOKpfnLPoqiTaApmuybTlZhpzhDH
d3A+W0ZrnE0nui9ZV33cAoCid40VBfJPapnpmz1O2jnwnUYHJcIhyA1GqBn/EYJ++0hvR+inlLk7D9qqa1h8PMMGLxQ22T
VSg3QQgut9lAfg0rMksBgAiS/Fy6APrFMAwRTIGSY13L49EWDvt1CaCTj1mNWupdy3gluFAF/NZ3grWlswRKC3slRy4Xu+
usrMmoYSE2LEu5jR4hsXxdYT+nZYcAAAD+LkZMWhS53QABzgqAgAEAQi9wt7HEZ/sCAAAAAARZWg==
"""


def test_steps_of_cgns_in_adf(tmp_path):
    pytest.importorskip("pyvista")
    path = tmp_path / "a.cgns"
    path.write_bytes(lzma.decompress(base64.b64decode(ADF)))
    assert b"ADF Database" in path.read_bytes()[:64]
    for step in (0, 1, 2, -1):
        data = read_mesh(path, step)
        assert data.cells.tolist() == [[0, 1, 3, 2, 4, 5, 7, 6]]
        assert data.point_data["Pressure"].tolist() == (np.arange(8.0) + 1000 * (step % 3)).tolist()
    with pytest.raises(MeshError, match=r"a\.cgns.*steps 0 to 2, got `step` 3"):
        read_mesh(path, 3)


def test_a_header_that_is_no_size(tmp_path):
    """GetFEM writes the bytes of a field as a float."""
    text = base64.b64encode(np.array([12, 1, 2, 3], dtype="<f4").tobytes()).decode()
    data = f'<DataArray type="Float32" Name="u" format="binary">{text}</DataArray>'
    path = tmp_path / "a.vtu"
    path.write_text(vtu(data=data))
    assert read_mesh(path).point_data["u"].tolist() == [1, 2, 3]
    short = base64.b64encode(np.array([12, 1, 2], dtype="<f4").tobytes()).decode()
    path.write_text(vtu(data=data.replace(text, short)))
    with pytest.raises(MeshError, match=r"a\.vtu: array 'u' has .* bytes, expected 12"):
        read_mesh(path)


MSH1 = "$NOD\n3\n1 0 0 0\n2 1 0 0\n7 0 1 1\n$ENDNOD\n$ELM\n1\n1 2 5 1 3 1 2 7\n$ENDELM\n"


def test_version_1_of_gmsh(tmp_path):
    pytest.importorskip("gmsh")
    path = tmp_path / "a.msh"
    path.write_text(MSH1)
    data = read_mesh(path)
    assert data.pos.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert data.cells.tolist() == [[0, 1, 2]]
    assert data.cell_data["gmsh:physical"].tolist() == [5]
    for cut in range(20, len(MSH1) - 9, 7):
        path.write_text(MSH1[:cut])
        with pytest.raises(MeshError, match=r"a\.msh: "):
            read_mesh(path)
    path.write_text(MSH1.replace("$ELM\n1", "$ELM\n1000000000"))
    with pytest.raises(MeshError, match=r"a\.msh: declares 1,000,000,000 elements"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(0 "Exported from NETGEN")\n(2 3)\n', "mesh of Fluent: export CGNS"),
        (MSH2[MSH2.index("$Nodes") :].format(n=3, tag=3), "is it a Gmsh mesh.*save as VTU"),
    ],
)
def test_other_files_that_end_in_msh(tmp_path, text, message):
    (tmp_path / "a.msh").write_text(text)
    with pytest.raises(MeshError, match=rf"a\.msh: no Gmsh .*{message}"):
        read_mesh(tmp_path / "a.msh")


DECK = """$pyNastran: version=msc
$pyNastran: punch=True
$pyNastran: nnodes=3
$pyNastran: nelements=1
GRID           1              0.      0.      0.
GRID           2              1.      0.      0.
GRID           3              0.      1.      1.
CTRIA3         1       1       1       2       3
"""


def test_decks_of_pynastran_without_an_end(tmp_path):
    path = tmp_path / "a.bdf"
    path.write_text(DECK)
    assert read_mesh(path).cells.tolist() == [[0, 1, 2]]
    shorter = [DECK[: DECK.index("CTRIA3")], re.sub("GRID +3.*\n", "", DECK)]
    for text in (*shorter, DECK.replace("punch=True", "punch=False")):
        path.write_text(text)
        with pytest.raises(MeshError, match=r"a\.bdf: "):
            read_mesh(path)
    system = "CORD2R         5              0.      0.      0.      0.      0.      1.\n"
    path.write_text(DECK + system + "              1.      0.      0.\n")
    with pytest.raises(MeshError, match=r"a\.bdf: has no ENDDATA.*add ENDDATA as its last line"):
        read_mesh(path)


FRD = """    1C
    2C                             3                                     1
 -1         1 0.00000E+00 0.00000E+00 0.00000E+00
 -1         2 1.00000E+00 0.00000E+00 0.00000E+00
 -1         3 0.00000E+00 1.00000E+00 1.00000E+00
 -3
    3C                             1                                     1
 -1         1    7    0    1
 -2         1         2         3
 -3
  100CL  101 1.00000E+00           4                     0    1           1
 -4  NT          1    1
 -5  T           1    1    0    0
 -1         1 5.00000E+00
 -1         3 6.00000E+00
 -1        44 7.00000E+00
 -3
 9999
"""


def test_results_of_a_network(tmp_path):
    """Node 44 belongs to no element that is written."""
    (tmp_path / "a.frd").write_text(FRD)
    with pytest.warns(UserWarning, match=r"a\.frd: results at 1 nodes that are not of the mesh"):
        values = read_mesh(tmp_path / "a.frd").point_data["NT"]
    assert values[[0, 2]].tolist() == [5, 6]
    assert values[1].isnan()


def test_fluid_elements_of_calculix(tmp_path):
    lines = ["*NODE", *(f"{i + 1}, {i & 1}, {i >> 1 & 1}, {i >> 2}" for i in range(8))]
    lines += ["*ELEMENT, TYPE=F3D8", "1, 1, 2, 4, 3, 5, 6, 8, 7"]
    (tmp_path / "a.inp").write_text("\n".join(lines) + "\n")
    data = read_mesh(tmp_path / "a.inp")
    assert data.cell_types.tolist() == [12]
    assert data.cells.tolist() == [[0, 1, 3, 2, 4, 5, 7, 6]]


def test_an_empty_list_of_a_series_is_refused(tmp_path):
    (tmp_path / "a.vtm.series").write_text("{}")
    with pytest.raises(MeshError, match=r"a\.vtm\.series: lists no data set"):
        read_mesh(tmp_path / "a.vtm.series")


def test_a_version_of_xdmf_that_is_not_said(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pos"], file["cells"] = np.eye(3), np.array([[0, 1, 2]])
    items = [
        f'<DataItem Dimensions="{shape}" Format="HDF" Precision="8">a.h5:/{name}</DataItem>'
        for shape, name in (("1 3", "cells"), ("3 3", "pos"))
    ]
    (tmp_path / "a.xdmf").write_text(
        '<Xdmf><Domain><Grid GridType="Uniform"><Topology TopologyType="Triangle"'
        f' NumberOfElements="1">{items[0]}</Topology><Geometry GeometryType="XYZ">{items[1]}'
        "</Geometry></Grid></Domain></Xdmf>"
    )
    assert read_mesh(tmp_path / "a.xdmf").cells.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["0"], r"no mesh of OpenFOAM \(constant/polyMesh\); put"),
        (["processor0/constant/polyMesh", "processor0/0"], "the steps 0 in the folders.*reconstru"),
        (["processor0/constant/polyMesh"], "a mesh in the folders of its proc.*reconstructParMesh"),
        (["constant/polyMesh", "0", "processor0/0", "processor0/0.5"], "the steps 0.5 in the fold"),
        (["constant/polyMesh", "processors4/20"], "the steps 20 in the folders"),
    ],
)
def test_cases_of_openfoam_that_are_not_together(tmp_path, folders, message):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a.foam").touch()
    with pytest.raises(MeshError, match=rf"a\.foam: .*{message}"):
        read_mesh(tmp_path / "a.foam")


def test_arrays_of_xdmf_that_are_not_there(tmp_path):
    test_a_version_of_xdmf_that_is_not_said(tmp_path)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["pos"]
    with pytest.raises(MeshError, match=r"a\.xdmf: refers to .*a\.h5: has no array '/pos'"):
        read_mesh(tmp_path / "a.xdmf")

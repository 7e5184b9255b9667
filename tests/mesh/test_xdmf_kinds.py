"""What XDMF files may say besides a plain mesh: read as it is meant, or refused by name.

Kinds: an order of nodes of their own, nodes counted from another number, axes in arrays of their
own, slabs and functions of arrays, binary files (beside the XDMF, wherever one stands; of another
byte order; with an offset), structured topologies, polygons, fields of edges or of the whole grid,
meshes in several grids. Mixes of all cells are written and read back, or refused by name.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from mesh_files import NODES_OF_TYPE, assert_same
from test_write import ROUND_TRIP, meshes

from lrsa_geo.mesh import MeshError, read_mesh, write_mesh


def item(shape, values, kind="Float", more='Format="XML"'):
    return (
        f'<DataItem Dimensions="{shape}" NumberType="{kind}" Precision="8" {more}>{values}'
        "</DataItem>"
    )


CELLS = item("1 3", "0 1 2", "Int")
TOPOLOGY = f'<Topology TopologyType="Triangle" NumberOfElements="1">{CELLS}</Topology>'
PLACES = "0 0 0 1 0 0 0 1 1 5 5 5"
GEOMETRY = f'<Geometry GeometryType="XYZ">{item("4 3", PLACES)}</Geometry>'


def xdmf(path, topology=TOPOLOGY, geometry=GEOMETRY, field="", grids="{}"):
    grid = f'<Grid Name="m" GridType="Uniform">{topology}{geometry}{field}</Grid>'
    path.write_text(f'<Xdmf Version="3.0"><Domain>{grids.format(grid)}</Domain></Xdmf>')
    return path


def values(more, inner="1 2 3 4", center="Node"):
    return f'<Attribute Name="u" Center="{center}">{item("4", inner, more=more)}</Attribute>'


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"topology": TOPOLOGY.replace("Number", 'Order="2 1 0" Number')}, "order of their own"),
        ({"topology": TOPOLOGY.replace("Number", 'BaseOffset="1" Number')}, "BaseOffset 1"),
        ({"topology": '<Topology TopologyType="2DSMesh" Dimensions="2 2"/>'}, "'2DSMesh'"),
        ({"topology": TOPOLOGY.replace("Triangle", "Polygon")}, "'Polygon'"),
        ({"geometry": GEOMETRY.replace("XYZ", "X_Y_Z")}, "geometry 'X_Y_Z'"),
        ({"field": values('ItemType="HyperSlab"')}, "type HyperSlab"),
        ({"field": values('ItemType="Function" Function="2 * $0"')}, "type Function"),
        ({"field": values('Format="XML"', center="Edge")}, "'u' has a value for each edge"),
        ({"field": values('Format="XML"', center="Grid")}, "'u' has a value for each grid"),
        ({"field": values('Format="Binary" Endian="Big"', "u.bin")}, "another byte order"),
        ({"field": values('Format="Binary" Seek="8"', "u.bin")}, "with an offset"),
        (
            {"grids": '<Grid GridType="Collection" CollectionType="Spatial">{0}{0}</Grid>'},
            "several grids",
        ),
    ],
)
def test_what_is_not_read_is_named(tmp_path, parts, message):
    np.arange(4.0).tofile(tmp_path / "u.bin")
    assert read_mesh(xdmf(tmp_path / "b.xdmf")).cells.tolist() == [[0, 1, 2]]
    with pytest.raises(MeshError, match=rf"a\.xdmf: .*{message}"):
        read_mesh(xdmf(tmp_path / "a.xdmf", **parts))


def test_binary_values_lie_beside_the_file(tmp_path, monkeypatch):
    """Not in the folder that one stands in, where another file has that name."""
    (tmp_path / "here").mkdir()
    np.arange(4.0).tofile(tmp_path / "u.bin")
    np.zeros(4).tofile(tmp_path / "here" / "u.bin")
    monkeypatch.chdir(tmp_path / "here")
    path = xdmf(tmp_path / "a.xdmf", field=values('Format="Binary" Endian="Little"', "u.bin"))
    assert read_mesh(path).point_data["u"].tolist() == [0, 1, 2, 3]
    assert read_mesh("../a.xdmf", -1).point_data["u"].tolist() == [0, 1, 2, 3]
    with pytest.raises(MeshError, match=r"a\.xdmf: has one step"):
        read_mesh(path, 1)
    (tmp_path / "u.bin").unlink()
    with pytest.raises(MeshError, match=r"a\.xdmf: refers to .*u\.bin: no such file"):
        read_mesh(path)


@given(data=meshes(tuple(NODES_OF_TYPE), shapes=((), (3,))))
@settings(ROUND_TRIP, max_examples=60)
def test_every_mix_is_read_back_or_refused(tmp_path, data):
    path = tmp_path / "a.xdmf"
    path.unlink(missing_ok=True)
    if not in_xdmf(data.cell_types.tolist()):
        with pytest.raises(MeshError, match=r"a\.xdmf: XDMF has no cells"):
            write_mesh(path, data)
        assert not path.exists()
    else:
        write_mesh(path, data)
        assert_same(read_mesh(path), data)


def in_xdmf(types):
    """XDMF's list of cells has neither of these."""
    return not {8, 11, 15, 16, 30, 31, 34, 35} & {*types}

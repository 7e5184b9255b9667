"""XDMF as FEniCS and dolfinx write it beside plain fields.

Kinds: checkpoints of continuous elements of order 1 and 2, scalar and vector, and of constants in
cells; of elements without values at nodes, and by several processes; lines spelled PolyLine; tags
of facets beside the mesh and beside series, two meshes in a file.
"""

import h5py
import numpy as np
import pytest
import torch

from lrsa_geo.mesh import MeshError, read_mesh

POS = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
CELLS = np.array([[0, 1, 2], [0, 2, 3]])
EDGES = {(1, 2): 0, (0, 2): 1, (0, 1): 2, (2, 3): 3, (0, 3): 4}
INCLUDE = '<xi:include xpointer="xpointer(/Xdmf/Domain/Grid/Geometry)"/>'


def item(shape, where):
    return f'<DataItem Dimensions="{shape}" Format="HDF">a.h5:{where}</DataItem>'


def mesh():
    return (
        '<Topology NumberOfElements="2" TopologyType="Triangle" NodesPerElement="3">'
        f'{item("2 3", "cells")}</Topology><Geometry GeometryType="XY">{item("4 2", "pos")}'
        "</Geometry>"
    )


def document(body):
    return f'<Xdmf xmlns:xi="http://www.w3.org/2001/XInclude"><Domain>{body}</Domain></Xdmf>'


def checkpoint(folder, dofs, values, element="CG", degree=1, numbers=(0, 1)):
    """Two triangles with coefficients ``dofs [2, W]``, whose values double in the second step."""
    dofs = np.array(dofs)
    with h5py.File(folder / "a.h5", "w") as file:
        file["pos"], file["cells"] = POS, CELLS
        for step in (0, 1):
            file[f"{step}/cell_dofs"] = dofs.reshape(-1, 1)
            file[f"{step}/vector"] = np.array(values, dtype=float)[:, None] * (step + 1)
            file[f"{step}/x_cell_dofs"] = np.arange(3)[:, None] * dofs.shape[1]
            file[f"{step}/cells"] = np.array(numbers)[:, None]
    grids = "".join(
        f'<Grid Name="u_{step}" GridType="Uniform">{mesh()}<Time Value="{step}"/><Attribute'
        f' ItemType="FiniteElementFunction" ElementFamily="{element}" ElementDegree="{degree}"'
        ' ElementCell="triangle" Name="u" Center="Other" AttributeType="Scalar">'
        + item(f"{dofs.size} 1", f"{step}/cell_dofs")
        + item(f"{len(values)} 1", f"{step}/vector")
        + item("3 1", f"{step}/x_cell_dofs")
        + item("2 1", f"{step}/cells")
        + "</Attribute></Grid>"
        for step in (0, 1)
    )
    path = folder / "a.xdmf"
    path.write_text(
        document(f'<Grid GridType="Collection" CollectionType="Temporal">{grids}</Grid>')
    )
    return path


def test_linear_functions(tmp_path):
    """The coefficients of nodes 0 to 3 are 2, 0, 3, 1."""
    path = checkpoint(tmp_path, [[2, 0, 3], [2, 3, 1]], [10, 11, 12, 13])
    for step in (0, 1, -1):
        u = read_mesh(path, step).point_data["u"]
        assert u.tolist() == (np.array([12, 10, 13, 11]) * (1 + abs(step))).tolist()


def test_vectors_come_component_by_component(tmp_path):
    path = checkpoint(tmp_path, [[0, 1, 2, 4, 5, 6], [0, 2, 3, 4, 6, 7]], np.arange(8))
    u = read_mesh(path).point_data["u"]
    assert u.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_of_order_2_the_values_at_nodes(tmp_path):
    dofs = [
        [*cell, *(4 + EDGES[tuple(sorted(np.delete(cell, i).tolist()))] for i in range(3))]
        for cell in CELLS.tolist()
    ]
    path = checkpoint(tmp_path, dofs, np.arange(9) + 0.5, degree=2)
    with pytest.warns(UserWarning, match="'u', of degree 2, the values inside edges"):
        assert read_mesh(path).point_data["u"].tolist() == [0.5, 1.5, 2.5, 3.5]


def test_constants_in_cells(tmp_path):
    path = checkpoint(tmp_path, [[1], [0]], [7, 8], "DG", 0)
    assert read_mesh(path).cell_data["u"].tolist() == [8, 7]


@pytest.mark.parametrize("element", ["DG", "RT", "N1curl"])
def test_elements_without_values_at_nodes_are_refused(tmp_path, element):
    path = checkpoint(tmp_path, [[0, 1, 2], [3, 4, 5]], np.arange(6), element)
    with pytest.raises(MeshError, match=rf"a\.xdmf: field 'u' is a .*'{element} 1'.*interpolate"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("dofs", "numbers"),
    [
        ([[2, 0, 3], [2, 3, 1]], (1, 0)),  # of another cell
        ([[2, 0, 3], [3, 2, 1]], (0, 1)),  # a node has two values
        ([[2, 0, 3], [2, 3, 4]], (0, 1)),  # a coefficient that is not there
        ([[2, 0], [2, 3]], (0, 1)),
    ],
)
def test_coefficients_that_do_not_fit_are_refused(tmp_path, dofs, numbers):
    path = checkpoint(tmp_path, dofs, [10, 11, 12, 13], numbers=numbers)
    with pytest.raises(MeshError, match=r"a\.xdmf: the coefficients of field 'u' do not fit.*one"):
        read_mesh(path)


def tagged(folder, series="", geometry=INCLUDE):
    with h5py.File(folder / "a.h5", "w") as file:
        file["pos"], file["cells"], file["u"] = POS, CELLS, np.arange(4.0)
        file["lines"], file["tags"] = np.array([[0, 1], [1, 2]]), np.array([5, 6])
    lines = (
        f'<Grid Name="facets" GridType="Uniform">{geometry}<Topology TopologyType="PolyLine"'
        f' NumberOfElements="2" NodesPerElement="2">{item("2 2", "lines")}</Topology>'
        f'<Attribute Name="facets" Center="Cell">{item("2 1", "tags")}</Attribute></Grid>'
    )
    grid = f'<Grid Name="mesh" GridType="Uniform">{mesh()}</Grid>'
    path = folder / "a.xdmf"
    path.write_text(document(grid + lines + series))
    return path


SERIES = (
    '<Grid Name="u" GridType="Collection" CollectionType="Temporal"><Grid Name="u"'
    ' GridType="Uniform"><xi:include xpointer="xpointer(/Xdmf/Domain/Grid[@Name=\'mesh\'][1]/'
    '*[self::Topology or self::Geometry])"/><Time Value="0"/><Attribute Name="u" Center="Node">'
    f"{item('4 1', 'u')}</Attribute></Grid></Grid>"
)


@pytest.mark.parametrize("series", ["", SERIES])
def test_tags_are_left_out_with_a_warning(tmp_path, series):
    with pytest.warns(UserWarning, match="the tags 'facets', on cells of their own, are left out"):
        data = read_mesh(tagged(tmp_path, series))
    assert data.cells.tolist() == CELLS.tolist()
    assert not data.cell_data
    assert {name: values.tolist() for name, values in data.point_data.items()} == (
        {"u": [0, 1, 2, 3]} if series else {}
    )


def test_two_meshes_are_refused(tmp_path):
    path = tagged(tmp_path, geometry=f'<Geometry GeometryType="XY">{item("4 2", "pos")}</Geometry>')
    with pytest.raises(MeshError, match=r"a\.xdmf: holds several meshes \(mesh, facets\).*own"):
        read_mesh(path)


def test_lines_as_fenics_spells_them(tmp_path):
    path = tagged(tmp_path)
    path.write_text(
        document(
            '<Grid Name="mesh" GridType="Uniform"><Topology NumberOfElements="2"'
            f' TopologyType="PolyLine" NodesPerElement="2">{item("2 2", "lines")}</Topology>'
            f'<Geometry GeometryType="XY">{item("4 2", "pos")}</Geometry>'
            f'<Attribute Name="f" Center="Cell">{item("2 1", "tags")}</Attribute></Grid>'
        )
    )
    data = read_mesh(path)
    assert data.cell_types.tolist() == [3, 3]
    assert torch.equal(data.cells.plain(), torch.tensor([[0, 1], [1, 2]], dtype=torch.int32))
    assert data.cell_data["f"].tolist() == [5, 6]

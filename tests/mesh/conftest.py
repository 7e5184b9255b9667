"""Files of Gmsh and VTK."""

import gmsh
import numpy as np
import pytest
from mesh_files import NODES_OF_TYPE


@pytest.fixture(scope="module")
def gmsh_mesh(tmp_path_factory):
    """Writes a rectangle (area 0.5) or a box (volume 1) with gmsh; also returns gmsh's nodes."""
    folder = tmp_path_factory.mktemp("gmsh")
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)

    def write(name, dim=2, order=1, quads=False, version=4.1, binary=False):
        gmsh.clear()
        if dim == 2:
            gmsh.model.occ.addRectangle(0, 0, 0, 1, 0.5)
        else:
            gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(dim - 1, [1], name="one side")
        gmsh.model.addPhysicalGroup(dim, [1], name="inside")
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.4)
        gmsh.option.setNumber("Mesh.RecombineAll", int(quads))
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", int(binary))
        gmsh.model.mesh.generate(dim)
        gmsh.model.mesh.setOrder(order)
        path = folder / name
        gmsh.write(str(path))
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        return path, coordinates.reshape(-1, 3)[np.argsort(tags)]

    yield write
    gmsh.finalize()


@pytest.fixture(scope="session")
def vtk_grid():
    """A grid with every kind of cell and of array."""
    pv = pytest.importorskip("pyvista")
    rng = np.random.default_rng(0)
    types = [t for t in NODES_OF_TYPE if t > 1] * 2 + [7, 4, 6]
    widths = [NODES_OF_TYPE.get(t, 5) for t in types]
    cells = np.concatenate([[w, *rng.permutation(40)[:w]] for w in widths])
    grid = pv.UnstructuredGrid(cells, np.array(types, np.uint8), rng.random((40, 3), np.float32))
    for dtype in (np.float32, np.float64, np.int8, np.int32, np.int64, np.uint16):
        name = np.dtype(dtype).name
        grid.point_data[f"p {name}"] = rng.integers(0, 99, 40).astype(dtype)
        grid.cell_data[f"c {name}"] = rng.integers(0, 99, (grid.n_cells, 3)).astype(dtype)
    grid.point_data["pair"] = rng.random((40, 2))
    return grid

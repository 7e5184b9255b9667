"""What `pip install lrsa_geo` alone can do: layers, and the road from mesh file to store and back.

Run where no extra is installed; it fails if one is.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import torch

from lrsa_geo.data import MeshStore, collect
from lrsa_geo.mesh import CellsToEdges, MeshData, read_mesh, write_mesh
from lrsa_geo.nn import GeometryOperator


def main() -> None:
    """The road, and the command's answer."""
    extras = ("lightning", "jsonargparse", "matplotlib", "igl", "pyvista", "gmsh", "felupe")
    present = [name for name in extras if find_spec(name) is not None]
    assert not present, f"the base install brought {present}"
    folder = Path(mkdtemp())
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    square = MeshData(pos=pos, cells=torch.tensor([[0, 1, 2], [1, 3, 2]]))
    for number in range(2):
        write_mesh(folder / f"{number}.vtu", square, {"p": torch.rand(4)})
    store, failures = collect(sorted(folder.glob("*.vtu")), folder / "p.h5", targets=["p"])
    assert isinstance(store, MeshStore)
    assert not failures
    data = CellsToEdges()(read_mesh(folder / "0.vtu"))
    model = GeometryOperator(0, 1, 2, channels=16, depth=1, heads=2, local="MeshConv")
    assert model(None, data.pos, edge_index=data.edge_index).shape == (4, 1)
    command = [sys.executable, "-m", "lrsa_geo", "train", str(store.path)]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 1, told
    assert "pip install 'lrsa_geo[train]'" in told.stderr, told.stderr
    print("base install: layers, meshes and stores work; the command says which extra it lacks")


if __name__ == "__main__":
    main()

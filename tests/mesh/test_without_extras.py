"""The mesh road works without what only training brings."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys

import torch_geometric

for name in ("igl", "tqdm", "lightning", "matplotlib"):
    sys.modules[name] = None  # as if it were not installed
import torch
from lrsa_geo.data import MeshStore, collect
from lrsa_geo.mesh import BoundaryNodes, DistanceToBoundary, MeshData, read_mesh, write_mesh

pos = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
mesh = MeshData(pos=pos, cells=torch.tensor([[0, 1, 2], [1, 3, 2]]))
write_mesh("a.vtu", mesh, {"p": pos[:, 0]})
store, _ = collect(["a.vtu"], "s.h5", targets=["p"], processes=0)
assert BoundaryNodes()(read_mesh("a.vtu")).boundary.all()
assert len(store) == 1
try:
    DistanceToBoundary()(mesh)
except ImportError as error:
    print(error)
"""


def test_meshes_and_stores_need_no_training_extra(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{WITHOUT}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'lrsa_geo[train]'" in done.stdout
    assert done.stderr == ""

"""OpenFOAM, ``.foam``: a file that stands for the case in whose folder it is."""

from __future__ import annotations

from pathlib import Path

from lrsa_geo.mesh.errors import MeshError


def check(path: Path) -> None:
    """Refuse a folder without a mesh, and steps that lie in the folders of processors alone."""
    folder = path.resolve().parent
    has_mesh = any(folder.glob("*/polyMesh")) or any(folder.glob("constant/*/polyMesh"))
    parts = [p for p in (folder / "processor0", *folder.glob("processors[0-9]*")) if p.is_dir()]
    missing = sorted({step for part in parts for step in _steps(part)} - _steps(folder))
    if parts and (missing or not has_mesh):
        what = (
            f"the steps {', '.join(f'{step:g}' for step in missing[:5])}" if missing else "a mesh"
        )
        raise MeshError(
            f"{path}: the case has {what} in the folders of its processors alone; run"
            " `reconstructPar` (`reconstructParMesh -constant` for the mesh) in it"
        )
    if not has_mesh:
        raise MeshError(
            f"{path}: beside it is no mesh of OpenFOAM (constant/polyMesh); put the file into the"
            " folder of a case, and make its mesh (blockMesh, snappyHexMesh)"
        )


def _steps(folder: Path) -> set[float]:
    found = set()
    for part in folder.iterdir():
        try:
            found.add(float(part.name))
        except ValueError:
            continue
    return found

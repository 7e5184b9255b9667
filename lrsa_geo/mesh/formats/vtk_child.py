"""Read files with VTK and leave each as an .npz: a program of ``child_loop.py``.

VTK's readers end the process on some damaged files, or never end; a child can be survived and
stopped. It imports nothing of this library, so that it starts fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_GIB = 1 << 30
_opened: dict[str, Any] = {}  # the reader of the last file, whose next step may be wanted


def main(path: str, step: int, out: str) -> None:
    """Write ``pos, types, starts, nodes``, ``p:NAME``, ``c:NAME``, ``times``, and faces."""
    import numpy as np
    import pyvista

    _limit_memory(4 * _GIB + 100 * Path(path).stat().st_size)
    with pyvista.VtkErrorCatcher(send_to_logging=False) as caught:
        grid, times = _grid(pyvista, path, step)
    if caught.error_events:
        sys.exit(" ".join(str(event.alert) for event in caught.error_events))
    arrays: dict[str, Any] = {
        "pos": grid.points,
        "types": grid.celltypes,
        "starts": grid.GetCells().GetOffsetsArray(),
        "nodes": grid.cell_connectivity,
        **{f"p:{name}": values for name, values in grid.point_data.items()},
        **{f"c:{name}": values for name, values in grid.cell_data.items()},
    }
    if times is not None:
        arrays["times"] = np.asarray(times, dtype=float)
    if 42 in grid.celltypes:
        arrays["faces"] = grid.polyhedron_face_connectivity
        arrays["face_starts"] = grid.polyhedron_face_offsets
        arrays["cell_faces"] = grid.polyhedron_face_location_connectivity
        arrays["cell_face_starts"] = grid.polyhedron_face_location_offsets
    np.savez(out, **arrays)


# Pieces that pyvista has no reader for.
_OF_PIECES = {
    ".pvtp": "vtkXMLPPolyDataReader",
    ".pvti": "vtkXMLPImageDataReader",
    ".pvtr": "vtkXMLPRectilinearGridReader",
    ".pvts": "vtkXMLPStructuredGridReader",
}


def _grid(pyvista: Any, path: str, step: int) -> tuple[Any, Any]:
    """One step, and the times of all steps, None where the format tells of none."""
    if (of_pieces := _OF_PIECES.get(Path(path).suffix.lower())) is not None:
        from vtkmodules import vtkIOXML

        if step not in (0, -1):
            sys.exit(f"has the step 0 alone, got `step` {step}")
        plain = getattr(vtkIOXML, of_pieces)()
        plain.SetFileName(path)
        plain.Update()
        return _without_ghosts(pyvista.wrap(plain.GetOutput()).cast_to_unstructured_grid()), None
    reader = _reader(pyvista, path)
    knows_times = isinstance(reader, pyvista.TimeReader)
    is_hdf = hasattr(reader.reader, "SetStep")
    times = list(reader.time_values) if knows_times and not is_hdf else list(_times(reader))
    if is_hdf:
        reader.reader.UpdateInformation()
        steps = reader.reader.GetNumberOfSteps() or 1
        times = times if len(times) == steps else []
    else:
        steps = len(times) or 1
    if not -steps <= step < steps:
        sys.exit(f"has the steps 0 to {steps - 1}, got `step` {step}")
    if is_hdf:
        reader.reader.SetStep(step % steps)
    elif knows_times and steps > 1:
        reader.set_active_time_point(step % steps)
    elif steps > 1:
        reader.reader.UpdateTimeStep(times[step % steps])
    grid = reader.read()
    if isinstance(grid, pyvista.MultiBlock):
        names = grid.keys()  # OpenFOAM's volume is wanted without its patches
        grid = grid["internalMesh"] if "internalMesh" in names else _joined(pyvista, grid)
    grid = _without_ghosts(grid.cast_to_unstructured_grid())
    return grid, times or (list(range(steps)) if steps > 1 else None)


def _reader(pyvista: Any, path: str) -> Any:
    if path not in _opened:
        _opened.clear()
        _opened[path] = pyvista.get_reader(path)
    return _opened[path]


def _times(reader: Any) -> Any:
    """Times of a reader for which pyvista knows none, such as that of CGNS."""
    reader.reader.UpdateInformation()
    key = reader.reader.GetExecutive().TIME_STEPS()
    about = reader.reader.GetOutputInformation(0)
    return about.Get(key) or () if about.Has(key) else ()


def _without_ghosts(grid: Any) -> Any:
    if "vtkGhostType" in grid.cell_data:  # cells that another piece has as well
        grid = grid.extract_cells(grid.cell_data["vtkGhostType"] & 1 == 0)
    for data in (grid.point_data, grid.cell_data):
        for name in [n for n in data if n.startswith("vtk")]:
            data.remove(name)
    return grid


def _joined(pyvista: Any, blocks: Any) -> Any:
    """All blocks as one grid; where a block lacks a field it gets NaN, which VTK would drop."""
    import numpy as np

    grids = [
        block.cast_to_unstructured_grid()
        for block in blocks.recursive_iterator(skip_none=True, skip_empty=True)
    ]
    if not grids:
        sys.exit("has no blocks with nodes")
    for kind in ("point_data", "cell_data"):
        shapes = {
            name: np.shape(getattr(g, kind)[name])[1:] for g in grids for name in getattr(g, kind)
        }
        for grid in grids:
            rows = grid.n_points if kind == "point_data" else grid.n_cells
            for name in shapes.keys() - set(getattr(grid, kind)):
                if not name.startswith("vtk"):
                    getattr(grid, kind)[name] = np.full((rows, *shapes[name]), np.nan)
    for kind in ("point_data", "cell_data"):  # VTK joins arrays of one type alone
        for name in getattr(grids[0], kind):
            types = {getattr(g, kind)[name].dtype for g in grids if name in getattr(g, kind)}
            for grid in grids if len(types) > 1 else ():
                getattr(grid, kind)[name] = getattr(grid, kind)[name].astype(float)
    return pyvista.MultiBlock(grids).combine()


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    within = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (within, most))

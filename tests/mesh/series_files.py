"""Series of meshes as solvers and ParaView leave them."""

import json

import numpy as np

POS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TRIANGLES = [[0, 1, 2], [0, 2, 3]]


def fields(step, nodes=4):
    """What every series here holds at a step."""
    return {"T": np.arange(float(nodes)) + 10 * step, "U": np.full((nodes, 3), [step, -step, 0.0])}


def vtu(path, step, time=None, pos=POS, cells=TRIANGLES, extra=None):
    """One step, by VTK's own writer, perhaps with the time in its field data."""
    import pyvista as pv

    table = np.hstack([np.full((len(cells), 1), len(cells[0])), cells]).ravel()
    grid = pv.UnstructuredGrid(table, np.full(len(cells), 5 if len(cells[0]) == 3 else 9), pos)
    for name, values in (fields(step, len(pos)) | (extra or {})).items():
        grid[name] = values
    if time is not None:
        grid.field_data["TimeValue"] = np.array([float(time)])
    path.parent.mkdir(parents=True, exist_ok=True)
    (grid.extract_surface(algorithm="dataset_surface") if path.suffix == ".vtp" else grid).save(
        path
    )
    return path


def pvd(path, entries):
    """A collection of (time, file) or (time, part, file)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(
        f'<DataSet timestep="{e[0]}" group="" part="{e[1] if len(e) > 2 else 0}" file="{e[-1]}"/>'
        for e in entries
    )
    path.write_text(
        f'<VTKFile type="Collection" version="0.1"><Collection>{lines}</Collection></VTKFile>'
    )
    return path


def pvd_of_vtu(folder, times, name="case.pvd", **options):
    """A collection and its files."""
    for step, _ in enumerate(times):
        vtu(folder / "steps" / f"s{step}.vtu", step, **options)
    return pvd(folder / name, [(t, f"steps/s{i}.vtu") for i, t in enumerate(times)])


def paraview_series(path, entries):
    """A list of files and times, as ParaView writes it."""
    listed = [{"name": name, "time": time} for name, time in entries]
    path.write_text(json.dumps({"file-series-version": "1.0", "files": listed}))
    return path


def pvtu(path, pieces):
    """Pieces with the fields of this file, as VTK's parallel writers declare them."""
    listed = "".join(f'<Piece Source="{name}"/>' for name in pieces)
    path.write_text(
        '<VTKFile type="PUnstructuredGrid" version="0.1"><PUnstructuredGrid GhostLevel="0">'
        '<PPointData><PDataArray type="Float64" Name="T"/><PDataArray type="Float64" Name="U"'
        ' NumberOfComponents="3"/></PPointData><PPoints><PDataArray type="Float64"'
        f' NumberOfComponents="3"/></PPoints>{listed}</PUnstructuredGrid></VTKFile>'
    )
    return path


def ensight(folder, times):
    """A case of EnSight Gold: a tetrahedron with ``T``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [times[i : i + 5] for i in range(0, len(times), 5)]  # lines of up to 79 letters
    listed = "\n".join(" ".join(f"{time:.6g}" for time in row) for row in rows)
    (folder / "a.case").write_text(
        "FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: a.geo\nVARIABLE\n"
        f"scalar per node: 1 T T**.scl\nTIME\ntime set: 1\nnumber of steps: {len(times)}\n"
        f"filename start number: 0\nfilename increment: 1\ntime values: {listed}\n"
    )
    (folder / "a.geo").write_text(
        "a\nb\nnode id assign\nelement id assign\npart\n         1\nname\ncoordinates\n         4\n"
        + "".join(f"{v:12.5e}\n" for v in [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
        + "tetra4\n         1\n         1         2         3         4\n"
    )
    for step, _ in enumerate(times):
        values = "".join(f"{v + 10 * step:12.5e}\n" for v in range(4))
        (folder / f"T{step:02}.scl").write_text(f"T\npart\n         1\ncoordinates\n{values}")
    return folder / "a.case"


def foam_hexahedron(folder, end):
    """A case of one hexahedron without fields; returns what writes further files of it."""

    def put(name, kind, text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"version 2.0; format ascii; class {kind}; object {path.name};"
        path.write_text(f"FoamFile {{ {head} }}\n{text}\n")

    mesh = "constant/polyMesh"
    points = "(0 0 0) (1 0 0) (1 1 0) (0 1 0) (0 0 1) (1 0 1) (1 1 1) (0 1 1)"
    faces = "4(0 4 7 3) 4(1 2 6 5) 4(0 1 5 4) 4(3 7 6 2) 4(0 3 2 1) 4(4 5 6 7)"
    put(f"{mesh}/points", "vectorField", f"8\n({points})")
    put(f"{mesh}/faces", "faceList", f"6\n({faces})")
    put(f"{mesh}/owner", "labelList", "6\n(0 0 0 0 0 0)")
    put(f"{mesh}/neighbour", "labelList", "0\n()")
    wall = "wall { type wall; nFaces 6; startFace 0; }"
    put(f"{mesh}/boundary", "polyBoundaryMesh", f"1\n({wall})")
    put(
        "system/controlDict",
        "dictionary",
        f"startTime 0; endTime {end}; deltaT 1; writeInterval 1;",
    )
    (folder / "a.foam").touch()
    return put


def openfoam(folder, times):
    """A case of one hexahedron, with the volume field ``T`` of the number of the step."""
    put = foam_hexahedron(folder, times[-1])
    for step, time in enumerate(times):
        values = (
            f"internalField uniform {10 * step}; boundaryField {{ wall {{ type zeroGradient; }} }}"
        )
        put(f"{time}/T", "volScalarField", f"dimensions [0 0 0 1 0 0 0]; {values}")
    return folder / "a.foam"

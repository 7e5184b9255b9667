"""A folder of mesh files with one specimen of each kind of fault that `data check` knows."""

from pathlib import Path

import meshio
import numpy as np

SIDE = np.linspace(0, 1, 5)
GRID = np.array([[x, y, 0.0] for x in SIDE for y in SIDE])
QUADS = np.array([[i, i + 5, i + 6, i + 1] for i in range(19) if i % 5 < 4])


def plate(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of triangles, shaken inside: nodes and cells."""
    rng = np.random.default_rng(seed)
    pos = GRID.copy()
    inner = ((GRID[:, :2] > 0) & (GRID[:, :2] < 1)).all(1)
    pos[inner, :2] += rng.uniform(-0.05, 0.05, (inner.sum(), 2))
    return pos, np.concatenate([QUADS[:, :3], QUADS[:, [0, 2, 3]]])


def save(path: Path, pos: np.ndarray, cells: list, cell_data=None, **fields: np.ndarray) -> None:
    """A VTU of the mesh with a pressure and these fields."""
    wave = np.sin(5 * pos[:, 0] / np.ptp(pos[:, 0])) - 0.3
    point_data = {"p": wave, **{name: values(wave) for name, values in fields.items()}}
    meshio.Mesh(pos, cells, point_data, cell_data or {}).write(path)


def write_specimens(folder: Path) -> dict[str, str]:
    """Write them; kind -> the file, or the field, that has it."""
    pos, triangles = plate(0)
    usual = [("triangle", triangles)]
    for i in range(1, 8):  # sound ones, so that each specimen is an exception
        fields = {
            "absolute": lambda wave: 101325 + 12 * wave,
            "still": lambda wave: np.full_like(wave, 3.5),
            "unloaded": lambda wave, i=i: wave * (i != 3),
            "unstarted": lambda wave, i=i: wave if i != 4 else np.full_like(wave, 1.0),
            "unlike": lambda wave, i=i: wave * 10.0**i,
        }
        sound, cells = plate(i)
        save(folder / f"sound{i}.vtu", sound, [("triangle", cells)], **fields)

    inches, cells = plate(20)
    save(folder / "inches.vtu", inches * 25.4, [("triangle", cells)])
    save(folder / "exactly.vtu", np.vstack([pos, pos[24:]]), [("triangle", _torn(triangles))])
    near = np.vstack([pos, pos[24:] + np.array([1e-9, 0, 0])])
    near[0, 0] -= 1e-3
    save(folder / "nearly.vtu", near, [("triangle", _torn(triangles))])
    own, cells = plate(21)
    save(
        folder / "own_nodes.vtu",
        own[cells].reshape(-1, 3),
        [("triangle", np.arange(cells.size).reshape(-1, 3))],
    )
    _hanging(folder / "hanging.vtu")
    twice, cells = plate(22)
    save(folder / "twice.vtu", twice, [("triangle", np.vstack([cells, cells[:3, [1, 2, 0]]]))])
    quads = QUADS.copy()
    quads[0, 3] = quads[0, 2]
    save(folder / "collapsed.vtu", plate(23)[0], [("quad", quads)])
    folded = QUADS.copy()
    folded[0, 2] = folded[0, 0]
    save(folder / "folded.vtu", plate(24)[0], [("quad", folded)])
    stray, cells = plate(25)
    save(folder / "stray.vtu", np.vstack([stray, [[5.0, 5, 0]]]), [("triangle", cells)])
    flat, cells = plate(26)
    flat[6] = (flat[0] + flat[12]) / 2
    flat[12] = 2 * flat[6] - flat[0]
    save(folder / "flat.vtu", flat, [("triangle", np.vstack([cells, [[0, 6, 12]]]))])
    turned, cells = plate(27)
    cells[7] = cells[7, ::-1]
    save(folder / "turned.vtu", turned, [("triangle", cells)])
    far, cells = plate(28)
    save(folder / "far.vtu", far + np.array([500000.1, 5400000.2, 0]), [("triangle", cells)])
    noisy, cells = plate(29)
    noisy[:, 2] = 1e-17 * np.arange(25)
    save(folder / "noise.vtu", noisy, [("triangle", cells)])
    other, cells = plate(30)
    materials = np.where(other[cells].mean(1)[:, 0] < 0.5, 1, 3)
    save(folder / "materials.vtu", other, [("triangle", cells)], {"material": [materials]})
    hole, cells = plate(31)
    save(
        folder / "nan.vtu",
        hole,
        [("triangle", cells)],
        q=lambda wave: np.where(wave > 0, wave, np.nan),
    )
    same, cells = plate(1)
    save(folder / "same.vtu", same.astype(np.float32), [("triangle", cells)])
    solid = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    save(folder / "solid.vtu", solid, [("tetra", np.arange(4)[None])])
    np.savetxt(folder / "cloud.csv", other, "%.6f", ",", header="x,y,p", comments="")
    (folder / "springs.inp").write_text(
        "*NODE\n1,0,0\n2,1,0\n3,0,1.1\n*ELEMENT,TYPE=CPS3\n1,1,2,3\n*ELEMENT,TYPE=SPRINGA\n2,1,3\n"
    )
    (folder / "broken.vtu").write_text((folder / "same.vtu").read_text()[:400])
    save(folder / "outlier.vtu", *_outlier(usual))
    return {
        "duplicate nodes, at exactly one place": "exactly.vtu",
        "duplicate nodes, at nearly one place": "nearly.vtu",
        "cells that own their nodes": "own_nodes.vtu",
        "hanging nodes": "hanging.vtu",
        "duplicated cells": "twice.vtu",
        "collapsed cells": "collapsed.vtu",
        "collapsed cells that are no lesser type": "folded.vtu",
        "nodes of no cell": "stray.vtu",
        "cells without area or volume": "flat.vtu",
        "cells numbered the other way round": "turned.vtu",
        "coordinates far from the origin": "far.vtu",
        "z that is rounding of 0": "noise.vtu",
        "whole numbers on cells": "material",
        "fields with values that are NaN or infinite": "nan.vtu",
        "files on one mesh, whatever its rounding": "same.vtu",
        "files of another dimension": "solid.vtu",
        "files without cells among meshes": "cloud.csv",
        "parts of files that are left out": "springs.inp",
        "files that cannot be read": "broken.vtu",
        "fields that some files lack": "'q': missing in",
        "offset that dwarfs the variation": "'absolute': has mean 101",
        "constant field": "'still': is 3.5",
        "field that is zero on some graphs": "'unloaded'",
        "field that is constant on some graphs": "'unstarted'",
        "graphs of very unlike magnitude": "'unlike'",
        "values far beyond those of the other graphs": "outlier.vtu",
        "meshes far larger or smaller than most": "inches.vtu",
    }


def _torn(triangles: np.ndarray) -> np.ndarray:
    """The last corner belongs to a node of its own in one of its two cells."""
    cells = triangles.copy()
    row = np.flatnonzero((cells == 24).any(1))[0]
    cells[row] = np.where(cells[row] == 24, 25, cells[row])
    return cells


def _hanging(path: Path) -> None:
    """A large square beside two small ones."""
    pos = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [3, 0], [3, 1], [2, 1], [3, 2.0]])
    cells = np.array([[0, 1, 2, 3], [1, 4, 5, 6], [6, 5, 7, 2]])
    save(path, np.pad(pos, ((0, 0), (0, 1))), [("quad", cells)])


def _outlier(usual: list) -> tuple[np.ndarray, list, dict]:
    pos, _ = plate(32)
    rows = len(usual[0][1])
    return pos, usual, {"p": [1e9 * np.linspace(1, 2, rows)]}

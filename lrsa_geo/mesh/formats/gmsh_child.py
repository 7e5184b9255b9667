"""Read files with Gmsh's library and leave each as an .npz: a program of ``child_loop.py``.

The library keeps one model for a whole process, which may be the user's own; and it is not made for
damaged files. It imports nothing of this library.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_GIB = 1 << 30
_opened: dict[str, dict[str, Any]] = {}  # the mesh of the last file, whose next step may be wanted
# Gmsh's type -> VTK's type and, where it differs, the place of each of VTK's nodes in Gmsh's order.
# https://gmsh.info/doc/texinfo/gmsh.html#Node-ordering
_HEX20 = [*range(8), 8, 11, 13, 9, 16, 18, 19, 17, 10, 12, 14, 15]
_PRISM15 = [*range(6), 6, 9, 7, 12, 14, 13, 8, 10, 11]
_PYRAMID13 = [*range(5), 5, 8, 10, 6, 7, 9, 11, 12]
_TYPES: dict[int, tuple[int, list[int] | None]] = {
    **{15: (1, None), 1: (3, None), 2: (5, None), 3: (9, None), 4: (10, None), 5: (12, None)},
    **{6: (13, [0, 2, 1, 3, 5, 4]), 7: (14, None), 8: (21, None), 9: (22, None), 10: (28, None)},
    **{16: (23, None), 11: (24, [*range(8), 9, 8]), 17: (25, _HEX20), 18: (26, _PRISM15)},
    12: (29, [*_HEX20, 22, 23, 21, 24, 20, 25, 26]),
    13: (32, [*_PRISM15, 15, 17, 16]),
    19: (27, _PYRAMID13),
    14: (74, [*_PYRAMID13, 13]),
}


def main(path: str, step: int, out: str) -> None:
    """Write the arrays of ``read_in_child``."""
    import gmsh
    import numpy as np

    if path not in _opened:
        _limit_memory(4 * _GIB + 100 * Path(path).stat().st_size)
        if gmsh.isInitialized():
            gmsh.finalize()
        _opened.clear()
        _opened[path] = _mesh(gmsh, np, path)
    arrays = dict(_opened[path])
    tags = arrays.pop("node tags")
    notes = _views(gmsh, np, step, tags, arrays)
    del arrays["tags"]
    np.savez(out, **arrays, notes=np.array(notes, dtype=str))


def _mesh(gmsh: Any, np: Any, path: str) -> dict[str, Any]:
    """All but the views, with the numbers of nodes and cells as ``node tags`` and ``tags``."""
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.logger.start()
    gmsh.open(path)
    errors = [line for line in gmsh.logger.get() if line.startswith("Error")]
    if errors:
        sys.exit(errors[0])
    tags, pos, _ = gmsh.model.mesh.getNodes()
    tags, first = np.unique(tags, return_index=True)
    pos = pos.reshape(-1, 3)[first]
    cells = _cells(gmsh, np)
    order = np.argsort(cells["tags"], kind="stable")
    widths = cells["widths"][order]
    starts = np.concatenate([[0], np.cumsum(cells["widths"])])
    ends = np.concatenate([[0], np.cumsum(widths)])
    places = np.arange(ends[-1]) + np.repeat(starts[:-1][order] - ends[:-1], widths)
    nodes = np.searchsorted(tags, cells["nodes"][places])
    return {
        "pos": pos,
        "types": cells["types"][order],
        "starts": ends,
        "nodes": nodes,
        "tags": cells["tags"][order],
        "c:gmsh:physical": cells["physical"][order],
        "c:gmsh:geometrical": cells["entity"][order],
        "p:gmsh:dim_tags": _entities(gmsh, np, tags),
        "node tags": tags,
        **_groups(gmsh, np, tags),
        **_times(gmsh, np),
    }


def _cells(gmsh: Any, np: Any) -> dict[str, Any]:
    """All elements, each once, as columns."""
    parts: dict[str, list[Any]] = {
        name: [np.empty(0, dtype=np.int64)]
        for name in ("tags", "types", "widths", "physical", "entity", "nodes")
    }
    for dim, entity in gmsh.model.getEntities():
        groups = gmsh.model.getPhysicalGroupsForEntity(dim, entity)
        listed = zip(*gmsh.model.mesh.getElements(dim, entity), strict=True)
        for kind, tags, nodes in listed:
            if kind not in _TYPES:
                name = gmsh.model.mesh.getElementProperties(kind)[0]
                sys.exit(
                    f"has {len(tags):,} cells '{name}', expected order 1 or 2; set the order"
                    " in Gmsh (Mesh.ElementOrder)"
                )
            cell_type, order = _TYPES[kind]
            nodes = nodes.reshape(len(tags), -1).astype(np.int64)
            # A cell in two groups is written once for each.
            _, once = np.unique(np.sort(nodes, axis=1), axis=0, return_index=True)
            once.sort()
            nodes, tags = nodes[once], tags[once]
            nodes = nodes if order is None else nodes[:, order]
            parts["tags"].append(tags.astype(np.int64))
            parts["nodes"].append(nodes.reshape(-1))
            for name, value in (
                ("types", cell_type),
                ("widths", nodes.shape[1]),
                ("physical", min(map(abs, groups), default=0)),
                ("entity", entity),
            ):
                parts[name].append(np.full(len(tags), value))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _entities(gmsh: Any, np: Any, tags: Any) -> Any:
    """Dimension and number of the entity that each node is on, ``[N, 2]``."""
    found = np.zeros((len(tags), 2), dtype=np.int32)
    for dim, entity in gmsh.model.getEntities():
        held, _, _ = gmsh.model.mesh.getNodes(dim, entity)
        found[np.searchsorted(tags, held)] = dim, entity
    return found


def _groups(gmsh: Any, np: Any, tags: Any) -> dict[str, Any]:
    """For each physical group with a name, where its nodes are."""
    found: dict[str, Any] = {}
    for dim, group in gmsh.model.getPhysicalGroups():
        name = gmsh.model.getPhysicalName(dim, group)
        if name and f"p:{name}" not in found:
            held, _ = gmsh.model.mesh.getNodesForPhysicalGroup(dim, group)
            found[f"p:{name}"] = np.isin(tags, held).astype(np.uint8)
    return found


def _views(gmsh: Any, np: Any, step: int, node_tags: Any, arrays: dict[str, Any]) -> list[str]:
    """Fields at the step; where a field has no value there is NaN."""
    notes = []
    views = gmsh.view.getTags()
    steps = [int(gmsh.view.option.getNumber(view, "NbTimeStep")) for view in views]
    most = max(steps, default=1)
    if not -most <= step < most:
        sys.exit(f"has the steps 0 to {most - 1}, got `step` {step}")
    for view, count in zip(views, steps, strict=True):
        name = gmsh.view.option.getString(view, "Name")
        if count not in (1, most):
            sys.exit(
                f"field '{name}' has {count} steps, another one {most}; write all at all steps"
            )
        kind, held, values, _, width = gmsh.view.getHomogeneousModelData(view, step % count)
        of_nodes = kind == "NodeData"
        if kind not in ("NodeData", "ElementData"):
            notes.append(
                f"leaves out the field '{name}' of kind {kind or 'list'}, expected NodeData or"
                " ElementData"
            )
            continue
        key = f"{'p' if of_nodes else 'c'}:{name}"
        if key in arrays:
            sys.exit(f"has two fields or groups called '{name}', expected one; rename one of them")
        tags = node_tags if of_nodes else arrays["tags"]
        order = np.argsort(tags)
        place = np.searchsorted(tags, held, sorter=order).clip(max=len(tags) - 1)
        known = tags[order[place]] == held
        column = np.full((len(tags), width), np.nan)
        column[order[place[known]]] = values.reshape(-1, width)[known]
        arrays[key] = column[:, 0] if width == 1 else column
    return notes


def _times(gmsh: Any, np: Any) -> dict[str, Any]:
    """Times of the views of several steps, if they agree."""
    counts = {v: int(gmsh.view.option.getNumber(v, "NbTimeStep")) for v in gmsh.view.getTags()}
    most = max(counts.values(), default=1)
    times = {
        tuple(gmsh.view.getHomogeneousModelData(view, i)[3] for i in range(count))
        for view, count in counts.items()
        if count == most > 1
    }
    return {"times": np.array(times.pop(), dtype=float)} if len(times) == 1 else {}


def _limit_memory(limit: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    within = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(resource.RLIMIT_AS, (within, most))

"""Checks of cells and fields that were read or are to be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from lrsa_geo.mesh.cells import Blocks, expected_widths, is_known
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.topology import places_of_inner_nodes

_SAMPLE = 100  # cells of each type whose nodes are looked at


def check_cells(path: Path, number: int, nodes: np.ndarray, num_nodes: int) -> None:
    """Refuse cells of an unknown VTK type or size, or that point at nodes which are not there."""
    if number == 42:
        raise MeshError(
            f"{path}: has {len(nodes):,} polyhedra (VTK type 42) without faces; export them with"
            " their faces, or split into tetrahedra (ParaView: Tetrahedralize)"
        )
    if not is_known(number):
        raise MeshError(
            f"{path}: has cells of the unknown VTK type {number}, expected linear or quadratic"
            " cells; convert the mesh (ParaView: Tetrahedralize)"
        )
    if expected := expected_widths(number, nodes.shape[1]):
        is_high = number >= 68  # Lagrange and Bezier cells
        raise MeshError(
            f"{path}: has {len(nodes):,} cells of VTK type {number} with {nodes.shape[1]} nodes,"
            f" expected {' or '.join(map(str, expected))}; "
            + (
                "cells of order 3 and more are not read: save with order 1 or 2"
                if is_high
                else "the file is damaged or its writer wrong: export it again"
            )
        )
    if not 0 <= nodes.min() <= nodes.max() < num_nodes:
        raise MeshError(
            f"{path}: cells of VTK type {number} point at nodes {nodes.min()} to {nodes.max()},"
            f" expected 0 to {num_nodes - 1}; the file is damaged: export it again"
        )


def check_places(path: Path, blocks: Blocks, pos: np.ndarray) -> None:
    """Refuse cells whose nodes beyond the corners come in another order than VTK's.

    Programs disagree on that order, and a wrong one joins the wrong nodes without a word. A node
    inside an edge lies near the middle of that edge, however curved: of all ways to deal such nodes
    to the edges and facets of their cell, the given one should come closest to the middles.
    """
    alike: dict[tuple[int, int], list[np.ndarray]] = {}
    for number, nodes in blocks:
        if places_of_inner_nodes(number, nodes.shape[1]):
            alike.setdefault((number, nodes.shape[1]), []).append(nodes)
    for (number, width), parts in alike.items():
        nodes = np.concatenate(parts) if len(parts) > 1 else parts[0]
        some = nodes[np.linspace(0, len(nodes) - 1, min(len(nodes), _SAMPLE)).astype(int)]
        places = list(places_of_inner_nodes(number, width).items())
        if len(places) == 1:  # a line: does another node lie in the middle?
            wrong = sum(_other_middle(cell) for cell in pos[some])
        else:
            wrong = sum(_other_order(cell, places) for cell in pos[some])
        if 2 * wrong > len(some):
            raise MeshError(
                f"{path}: nodes inside the edges of cells of VTK type {number} lie on other edges,"
                f" in {wrong} of {len(some)} cells that were looked at: they come in another order"
                " than the format says; export linear cells, or save as VTU in ParaView"
            )


def _other_order(cell: np.ndarray, places: list[tuple[int, tuple[int, ...]]]) -> bool:
    """Whether its inner nodes fit well in another order, and clearly better than in this one."""
    middles = np.stack([cell[list(around)].mean(0) for _, around in places])
    costs = cdist(cell[[node for node, _ in places]], middles, "sqeuclidean")
    given = np.trace(costs)
    fits = (0.15 * np.linalg.norm(np.ptp(cell, 0))) ** 2 * len(places)
    best = costs[linear_sum_assignment(costs)].sum() if given > 1e-9 * fits else given
    return bool(best < min(0.5 * given, fits))


def _other_middle(line: np.ndarray) -> bool:
    """The same for the third node of a line of three."""
    away = [np.linalg.norm(line[i] - np.delete(line, i, 0).mean(0)) for i in (2, 0, 1)]
    fits = 0.15 * np.linalg.norm(np.ptp(line, 0))
    return len(line) == 3 and bool(min(away[1:]) < min(0.5 * away[0], fits))


def check_field(path: Path, kind: str, name: str, shape: tuple[int, ...], rows: int) -> None:
    """Refuse a field with an impossible name or another number of rows than expected."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MeshError(
            f"{path}: the name of {kind} field {name!r} is not UTF-8 ({error}); rename it"
        ) from error
    if not name.strip() or not name.isprintable():
        raise MeshError(f"{path}: {kind} field {name!r} has no printable name; rename it")
    if not shape or shape[0] != rows:
        raise MeshError(
            f"{path}: {kind} field '{name}' has shape {list(shape)}, expected {rows:,} rows,"
            f" one per {kind}"
        )

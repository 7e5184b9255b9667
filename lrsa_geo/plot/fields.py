"""Fields on meshes: samples of a store; truth, prediction and error side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d import Axes3D
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, column_slices
from lrsa_geo.mesh.surfaces import simplices_of
from lrsa_geo.plot.solids import can_take_pictures, draw_solid, polygons_of, show_solid
from lrsa_geo.plot.style import readable, save, shown_values


def sample_sheet(store: MeshStore, graphs: list[int], name: str, path: str | Path) -> None:
    """One field on some graphs of a store, three in a row, each with its own colours.

    Of a series, the last state. The colours span all but a two-hundredth of the nodes at either
    end: peaks are narrow.
    """
    array = "states" if store.is_series else "y"
    field = next(field for field in store.fields[array] if field.name == name)
    columns = column_slices(store.fields[array])[name]
    rows = -(-len(graphs) // 3)
    figure = Figure(layout="constrained", figsize=(11, 3 * rows))
    grid = three_in_a_row(figure, rows, store[graphs[0]])
    for ax, graph in zip(grid.flat, graphs, strict=False):
        data = store[graph]
        title, rows_of = f"{data.num_nodes:,} nodes", data[array]
        if store.is_series:
            title, rows_of = f"{title}, t = {float(data.times[-1]):.4g}", rows_of[:, -1]
        values = shown_values(rows_of[:, columns].numpy(), field)
        low, high = np.nanquantile(values, [0.005, 0.995])
        drawn = draw_field(ax, data, values, cmap="viridis", vmin=low, vmax=high)
        ax.set_title(title, fontsize=9)
        figure.colorbar(drawn, ax=ax, shrink=0.8, label=readable(name, field))
    for ax in list(grid.flat)[len(graphs) :]:
        ax.set_axis_off()
    save(figure, path)


def compare(
    meshes: list[tuple[str, Data, np.ndarray]],
    fields: tuple[Field, ...],
    name: str,
    path: str | Path,
) -> None:
    """Truth, prediction and error of one field, a row per mesh.

    Truth and prediction share one colour scale; the error has its own, symmetric for scalars.
    Vectors are shown by their length, their error by the length of the difference. Where the truth
    is not known (NaN) nothing is drawn.

    Args:
        meshes: title, graph with truth in ``y``, and prediction ``[N, K]``.
        fields: columns of ``y``.
        name: which of them to draw.
        path: PNG file.
    """
    field = next(field for field in fields if field.name == name)
    columns = column_slices(fields)[name]
    figure = Figure(layout="constrained", figsize=(11, 3.3 * len(meshes)))
    rows = three_in_a_row(figure, len(meshes), meshes[0][1])
    for axes, (title, data, prediction) in zip(rows, meshes, strict=True):
        truth, guess = data.y[:, columns].numpy(), prediction[:, columns]
        error = shown_values(guess - truth, field)
        truth, guess = shown_values(truth, field), shown_values(guess, field)
        if field.components:
            error_style = {"cmap": "magma", "vmin": 0}
        else:
            limit = np.nanmax(np.abs(error))
            error_style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        low = min(np.nanmin(truth), np.nanmin(guess))
        high = max(np.nanmax(truth), np.nanmax(guess))
        shown = readable(name, field)
        for ax, values, what in ((axes[0], truth, "truth"), (axes[1], guess, "prediction")):
            drawn = draw_field(ax, data, values, cmap="viridis", vmin=low, vmax=high)
            ax.set_title(f"{title}: {what}" if ax is axes[0] else what)
        figure.colorbar(drawn, ax=list(axes[:2]), label=shown)
        drawn = draw_field(axes[2], data, error, **error_style)
        axes[2].set_title("error")
        figure.colorbar(drawn, ax=axes[2], label=shown)
    save(figure, path)


def draw_field(ax: Axes | Axes3D, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    """Nodal values on the cells of a plane mesh, on the boundary of a solid, or as points.

    Linear between the nodes of triangles, as the finite-element functions on the mesh are; other
    polygons are cut into triangles. A solid on 3-D axes has the mean of its corners on each facet;
    on plain axes it is a picture that pyvista (of the extra ``viz``) takes off-screen, lit, linear
    between the nodes, nothing seen through another part. If the middle six tenths of the nodes of a
    plane mesh fill less than a third of it, such as those around an airfoil, the picture shows
    their surroundings only.

    Args:
        ax: where.
        data: graph with ``pos`` and perhaps ``cells``.
        values: ``[N]``.
        style: ``cmap``, ``vmin``, ``vmax``.

    Returns:
        What a colour bar needs.

    Raises:
        ImportError: pyvista is needed and not installed.
    """
    pos = data.pos.numpy()
    if pos.shape[1] == 3:
        if isinstance(ax, Axes3D):
            return draw_solid(ax, data, values, **style)
        return show_solid(ax, data, values, **style)
    drawn: ScalarMappable
    polygons = polygons_of(data)
    if polygons is not None:
        triangles = Triangulation(pos[:, 0], pos[:, 1], simplices_of(polygons))
        triangles.set_mask(np.isnan(values)[triangles.triangles].any(1))
        drawn = ax.tripcolor(triangles, values, shading="gouraud", **style)
    else:
        drawn = ax.scatter(pos[:, 0], pos[:, 1], c=values, s=4, **style)
    low, high = np.quantile(pos, [0.2, 0.8], axis=0)
    if (high - low < np.ptp(pos, axis=0) / 3).all():
        middle, reach = (low + high) / 2, 0.65 * (high - low).max()
        ax.set(
            xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach)
        )
    ax.set_aspect("equal")
    ax.set_axis_off()
    return drawn


def three_in_a_row(figure: Figure, rows: int, like: Data) -> np.ndarray:
    """Axes ``[rows, 3]``, see :func:`axes_for`."""
    return axes_for(figure, rows, 3, like)


def axes_for(figure: Figure, rows: int, columns: int, like: Data) -> np.ndarray:
    """Axes for graphs like this one: 3-D ones if no picture of it can be taken."""
    needs_space = like.pos.shape[1] == 3 and not can_take_pictures()
    kind = {"projection": "3d"} if needs_space else {}
    return figure.subplots(rows, columns, squeeze=False, subplot_kw=kind)

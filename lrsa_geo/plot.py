"""Every picture the project draws, as PNG files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.tri import Triangulation
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore
from lrsa_geo.files import atomic_path
from lrsa_geo.mesh import Field, column_slices, surface_polygons

mpl.rcParams["figure.constrained_layout.use"] = True


def loss_curves(rows: list[dict[str, float]], path: str | Path) -> None:
    """Training loss and validation errors over the epochs, on a logarithmic axis."""
    figure = mpl_figure.Figure(figsize=(6, 4))
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    names = [name for name in rows[-1] if name not in ("epoch", "seconds")]
    for name in names:
        label = {"loss": "training, all fields"}.get(name, name.replace("val_", "validation, "))
        axes.semilogy(epochs, [row.get(name, np.nan) for row in rows], label=label)
    axes.set(xlabel="epoch", ylabel="relative L2")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    _save(figure, path)


def error_against_size(
    num_nodes: np.ndarray, errors: dict[str, np.ndarray], path: str | Path
) -> None:
    """One point per test mesh: its relative L2 error against its number of nodes."""
    figure = mpl_figure.Figure(figsize=(6, 4))
    axes = figure.subplots()
    for name, error in errors.items():
        axes.semilogy(num_nodes, error, ".", label=name.replace("_", " "))
    axes.set(xlabel="nodes of the mesh", ylabel="relative L2 on the mesh")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    _save(figure, path)


def sample_sheet(store: MeshStore, graphs: list[int], name: str, path: str | Path) -> None:
    """One field on some graphs of a store, three in a row, each with its own colours.

    The colours span all but a two-hundredth of the nodes at either end: peaks are narrow.
    """
    field = next(field for field in store.fields["y"] if field.name == name)
    columns = column_slices(store.fields["y"])[name]
    rows = -(-len(graphs) // 3)
    figure = mpl_figure.Figure(figsize=(11, 3 * rows))
    grid = _three_in_a_row(figure, rows, store[graphs[0]])
    for ax, graph in zip(grid.flat, graphs, strict=False):
        data = store[graph]
        values = _shown_values(data.y[:, columns].numpy(), field)
        low, high = np.quantile(values, [0.005, 0.995])
        drawn = draw_field(ax, data, values, cmap="viridis", vmin=low, vmax=high)
        ax.set_title(f"{data.num_nodes:,} nodes", fontsize=9)
        figure.colorbar(drawn, ax=ax, shrink=0.8, label=_readable(name, field))
    for ax in list(grid.flat)[len(graphs) :]:
        ax.set_axis_off()
    _save(figure, path)


def histograms(store: MeshStore, path: str | Path) -> None:
    """How many nodes the graphs have, and the values of conditions and targets."""
    shown = {"nodes of a mesh": store.num_nodes.astype(float)}
    for array in ("cond", "about", "y"):
        if array not in store.fields:
            continue
        values = np.asarray(store.read(array))
        for field in store.fields[array]:
            columns = column_slices(store.fields[array])[field.name]
            shown[_readable(field.name, field)] = _shown_values(values[:, columns], field)
    rows = -(-len(shown) // 3)
    figure = mpl_figure.Figure(figsize=(11, 2.4 * rows))
    grid = list(figure.subplots(rows, 3, squeeze=False).flat)
    for ax, (label, numbers) in zip(grid, shown.items(), strict=False):
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        if high - low <= 1e-5 * abs(high):  # one value, but for rounding: a bar in the middle
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        ax.hist(numbers, bins=41, range=(low, high), log=len(numbers) > 10 * len(store))
        ax.set(xlabel=label, yticks=[])
        ax.locator_params(axis="x", nbins=4)
    for ax in grid[len(shown) :]:
        ax.set_axis_off()
    _save(figure, path)


def error_against_distance(
    curves: dict[str, tuple[np.ndarray, np.ndarray]], name: str, path: str | Path
) -> None:
    """Root mean square error of a field, over that of the field, against distance; a line each."""
    figure = mpl_figure.Figure(figsize=(6, 4))
    axes = figure.subplots()
    for label, (distance, error) in curves.items():
        axes.loglog(np.maximum(distance, 1e-6), error, "o-", label=label)
    axes.set(xlabel="distance to the boundary", ylabel=f"error of {name.replace('_', ' ')}")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend()
    _save(figure, path)


def compare(
    meshes: list[tuple[str, Data, np.ndarray]],
    fields: tuple[Field, ...],
    name: str,
    path: str | Path,
) -> None:
    """Truth, prediction and error of one field, a row per mesh.

    Truth and prediction share one colour scale; the error has its own, symmetric for scalars.
    Vectors are shown by their length, their error by the length of the difference.

    Args:
        meshes: title, graph with truth in ``y``, and prediction ``[N, K]``.
        fields: columns of ``y``.
        name: which of them to draw.
        path: PNG file.
    """
    field = next(field for field in fields if field.name == name)
    columns = column_slices(fields)[name]
    figure = mpl_figure.Figure(figsize=(11, 3.3 * len(meshes)))
    rows = _three_in_a_row(figure, len(meshes), meshes[0][1])
    for axes, (title, data, prediction) in zip(rows, meshes, strict=True):
        truth, guess = data.y[:, columns].numpy(), prediction[:, columns]
        error = _shown_values(guess - truth, field)
        truth, guess = _shown_values(truth, field), _shown_values(guess, field)
        if field.components:
            error_style = {"cmap": "magma", "vmin": 0}
        else:
            limit = np.abs(error).max()
            error_style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        low, high = min(truth.min(), guess.min()), max(truth.max(), guess.max())
        shown = _readable(name, field)
        for ax, values, what in ((axes[0], truth, "truth"), (axes[1], guess, "prediction")):
            drawn = draw_field(ax, data, values, cmap="viridis", vmin=low, vmax=high)
            ax.set_title(f"{title}: {what}" if ax is axes[0] else what)
        figure.colorbar(drawn, ax=list(axes[:2]), label=shown)
        drawn = draw_field(axes[2], data, error, **error_style)
        axes[2].set_title("error")
        figure.colorbar(drawn, ax=axes[2], label=shown)
    _save(figure, path)


def draw_field(ax: Axes | Axes3D, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    """Nodal values on the triangles of a plane mesh, on the boundary of a solid, or as points.

    Linear between the nodes of triangles, as the finite-element functions on the mesh are. A solid
    on 3-D axes has the mean of its corners on each facet; on plain axes it is a picture that
    pyvista (of the extra ``viz``) takes off-screen, lit, linear between the nodes, nothing seen
    through another part. If the middle six tenths of the nodes of a plane mesh fill less than a
    third of it, such as those around an airfoil, the picture shows their surroundings only.

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
    cells = data.get("cells")
    if pos.shape[1] == 3:
        if isinstance(ax, Axes3D):
            return _draw_solid(ax, data, values, **style)
        return _show_solid(ax, data, values, **style)
    drawn: ScalarMappable
    if cells is not None and cells.shape[1] == 3 and pos.shape[1] == 2:
        triangles = Triangulation(pos[:, 0], pos[:, 1], cells.numpy())
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


def _show_solid(ax: Axes, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    """A picture of the surface, seen from the front, the right and above."""
    if find_spec("pyvista") is None:
        raise ImportError(
            "pictures of solids on plain axes take pyvista; install it with `pip install"
            " 'lrsa_geo[viz]'`, or give axes with projection='3d'"
        )
    import pyvista

    pos, polygons = data.pos.double().numpy(), _polygons(data)
    shown = pyvista.PolyData(pos)
    if polygons is not None:
        counted = np.column_stack([(polygons >= 0).sum(1), polygons])
        shown = pyvista.PolyData(pos, counted[counted >= 0])
    low, high = style.get("vmin", values.min()), style.get("vmax", values.max())
    colours = ScalarMappable(Normalize(low, high), style.get("cmap"))
    with _quiet_vtk():
        plotter: Any = pyvista.Plotter(off_screen=True, window_size=[900, 750])
        plotter.set_background("white")
        plotter.add_mesh(
            shown,
            scalars=np.asarray(values, dtype=float),
            cmap=colours.get_cmap(),
            clim=[low, high],
            show_scalar_bar=False,
            lighting=polygons is not None,
            ambient=0.4,
            diffuse=0.6,  # together 1: a side that faces the light has the colour of the bar
        )
        plotter.camera_position = "iso"
        image = np.asarray(plotter.screenshot(return_img=True))
        plotter.close()
    ax.imshow(image, interpolation="antialiased")
    ax.set_axis_off()
    return colours


@contextmanager
def _quiet_vtk() -> Iterator[None]:
    """Keep VTK's warning that there is no screen off the screen."""
    from vtkmodules.vtkCommonCore import vtkLogger

    before = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(before)


@cache
def _can_take_pictures() -> bool:
    """Whether pyvista is there and works, tried in a process of its own.

    Without a screen and a driver that draws without one, VTK may end the process that asks it to.
    """
    if find_spec("pyvista") is None:
        return False
    program = "import pyvista as p; p.Plotter(off_screen=True).screenshot(return_img=True)"
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _three_in_a_row(figure: mpl_figure.Figure, rows: int, like: Data) -> np.ndarray:
    """Axes ``[rows, 3]`` for graphs like this one: 3-D ones if no picture of it can be taken."""
    needs_space = like.pos.shape[1] == 3 and not _can_take_pictures()
    kind = {"projection": "3d"} if needs_space else {}
    return figure.subplots(rows, 3, squeeze=False, subplot_kw=kind)


def _draw_solid(ax: Axes3D, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    pos, facets = data.pos.numpy(), _polygons(data)
    drawn: ScalarMappable
    if facets is None:
        drawn = ax.scatter(*pos.T, c=values, s=2, **style)
    else:
        there = facets >= 0
        mean = np.where(there, values[facets], 0).sum(1) / there.sum(1)
        # A facet of fewer corners repeats its first.
        corners = pos[np.where(there, facets, facets[:, :1])]
        shown = Poly3DCollection(corners, edgecolors="none", cmap=style.get("cmap"))
        shown.set_array(mean)
        shown.set_clim(style.get("vmin", mean.min()), style.get("vmax", mean.max()))
        ax.add_collection(shown)
        drawn = shown
        for set_limits, low, high in zip(
            (ax.set_xlim, ax.set_ylim, ax.set_zlim), pos.min(0), pos.max(0), strict=True
        ):
            set_limits(low, high)
        ax.set_box_aspect(np.ptp(pos, axis=0), zoom=0.95)
    ax.set_axis_off()
    return drawn


def _polygons(data: Data) -> np.ndarray | None:
    """Polygons to draw; None for clouds of points and for lines, of which the nodes are drawn."""
    try:
        return surface_polygons(data)
    except ValueError:
        return None


def _shown_values(columns: np.ndarray, field: Field) -> np.ndarray:
    """A scalar itself, the length of a vector: ``[N, components]`` -> ``[N]``."""
    return np.linalg.norm(columns, axis=1) if field.components else columns[:, 0]


def _readable(name: str, field: Field) -> str:
    quantity = name.replace("_", " ")
    if field.components:
        quantity = f"|{quantity}|"
    return quantity if field.unit == "1" else f"{quantity} in {field.unit}"


def _save(figure: mpl_figure.Figure, path: str | Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)

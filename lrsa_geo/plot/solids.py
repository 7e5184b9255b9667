"""Surfaces of solids: pictures that pyvista takes off-screen, or polygons on 3-D axes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch_geometric.data import Data

from lrsa_geo.mesh import surface_polygons


def show_solid(ax: Axes, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    """A picture of the surface, seen from the front, the right and above."""
    if find_spec("pyvista") is None:
        raise ImportError(
            "pictures of solids on plain axes take pyvista; install it with `pip install"
            " 'lrsa_geo[viz]'`, or give axes with projection='3d'"
        )
    import pyvista

    pos, polygons = data.pos.double().numpy(), polygons_of(data)
    shown = pyvista.PolyData(pos)
    if polygons is not None:
        counted = np.column_stack([(polygons >= 0).sum(1), polygons])
        shown = pyvista.PolyData(pos, counted[counted >= 0])
    low = style.get("vmin", np.nanmin(values))
    high = style.get("vmax", np.nanmax(values))
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
def can_take_pictures() -> bool:
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


def draw_solid(ax: Axes3D, data: Data, values: np.ndarray, **style: Any) -> ScalarMappable:
    """The facets on 3-D axes, each in the colour of the mean of its corners."""
    pos, facets = data.pos.numpy(), polygons_of(data)
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
        shown.set_clim(style.get("vmin", np.nanmin(mean)), style.get("vmax", np.nanmax(mean)))
        ax.add_collection(shown)
        drawn = shown
        for set_limits, low, high in zip(
            (ax.set_xlim, ax.set_ylim, ax.set_zlim), pos.min(0), pos.max(0), strict=True
        ):
            set_limits(low, high)
        ax.set_box_aspect(np.ptp(pos, axis=0), zoom=0.95)
    ax.set_axis_off()
    return drawn


def polygons_of(data: Data) -> np.ndarray | None:
    """Polygons to draw; None for clouds of points and for lines, of which the nodes are drawn."""
    try:
        return surface_polygons(data)
    except ValueError:
        return None

"""Pictures: what they show is what they were given, and nothing is cut that should be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch_geometric.data import Data

from lrsa_geo import plot
from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field, boundary_facets
from lrsa_geo.plot import ErrorPoint, curves, errors_against_budget, solids
from lrsa_geo.plot import fields as plot_fields

TETRAHEDRA = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
SOLID = Data(
    pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]),
    cells=TETRAHEDRA,
    cell_types=torch.tensor([10, 10]),
)


def test_a_solid_is_drawn_by_its_boundary_with_the_mean_of_each_facet():
    ax = Figure().add_subplot(projection="3d")
    values = np.arange(5.0)
    plot.draw_field(ax, SOLID, values, cmap="viridis", vmin=0, vmax=4)
    facets = boundary_facets(SOLID.cells.numpy(), SOLID.cell_types.numpy(), 5).corners
    assert len(facets) == 6
    shown = ax.collections[0]
    np.testing.assert_allclose(shown.get_array(), values[facets].mean(1))
    assert shown.get_clim() == (0, 4)


def test_on_plain_axes_the_nearer_part_hides_the_farther():
    """A box with another one inside looks as it does alone."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    box = np.array([[0, 1, 3, 2, 4, 5, 7, 6]])
    pos = torch.from_numpy(np.concatenate([corners, corners / 2 + 0.25]))
    values = np.repeat([1.0, 0.0], 8)
    images = []
    for cells in (box, np.concatenate([box, box + 8])):
        data = Data(
            pos=pos, cells=torch.from_numpy(cells), cell_types=torch.full((len(cells),), 12)
        )
        ax = Figure().add_subplot()
        drawn = plot.draw_field(ax, data, values, cmap="gray", vmin=-1, vmax=1)
        assert drawn.get_clim() == (-1, 1)
        images.append(np.asarray(ax.images[0].get_array()))
    np.testing.assert_array_equal(*images)
    assert (images[0][0, 0] == 255).all()
    assert len(np.unique(images[0].reshape(-1, 3), axis=0)) > 3  # three sides in other lights


def test_a_surface_in_space_is_drawn_by_its_cells():
    square = Data(
        pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]),
        cells=torch.tensor([[0, 1, 2, 3], [0, 1, 4, -1]]),
        cell_types=torch.tensor([9, 5]),
    )
    ax = Figure().add_subplot(projection="3d")
    plot.draw_field(ax, square, np.arange(5.0), cmap="viridis")
    np.testing.assert_allclose(ax.collections[0].get_array(), [1.5, 5 / 3])
    ax = Figure().add_subplot()
    plot.draw_field(ax, square, np.arange(5.0), cmap="viridis")
    assert np.unique(ax.images[0].get_array().reshape(-1, 3), axis=0).shape[0] > 20


@pytest.mark.parametrize("lines", [False, True])
def test_clouds_and_lines_in_space_are_drawn_by_their_nodes(lines):
    cloud = Data(pos=torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    if lines:
        cloud.cells = torch.stack([torch.arange(49), torch.arange(1, 50)], dim=1)
        cloud.cell_types = torch.full((49,), 3)
    ax = Figure().add_subplot()
    plot.draw_field(ax, cloud, np.zeros(50), cmap="viridis", vmin=0, vmax=1)
    image = ax.images[0].get_array()
    assert 0.0005 < (image != 255).any(2).mean() < 0.2
    ax = Figure().add_subplot(projection="3d")
    plot.draw_field(ax, cloud, np.zeros(50), cmap="viridis", vmin=0, vmax=1)
    assert len(ax.collections[0].get_offsets()) == 50


def test_without_pyvista_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(solids, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'lrsa_geo\[viz\]'`, or give axes"):
        plot.draw_field(Figure().add_subplot(), SOLID, np.zeros(5), cmap="viridis")


def test_a_mesh_graded_around_a_hole_is_drawn_near_it_and_others_whole():
    rng = np.random.default_rng(0)
    radius, angle = np.exp(rng.uniform(-1, 3, 800)), rng.uniform(0, 2 * np.pi, 800)
    graded = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    for pos, is_near in ((graded, True), (rng.uniform(-20, 20, (800, 2)), False)):
        ax = Figure().add_subplot()
        data = Data(pos=torch.from_numpy(pos))
        plot.draw_field(ax, data, np.zeros(800), cmap="viridis")
        assert (np.ptp(ax.get_xlim()) < 10) == is_near


@pytest.mark.parametrize(("width", "cell_types"), [(4, [9, 9]), (4, [9, 5]), (5, [7, 5])])
def test_polygons_of_a_plane_mesh_are_filled(width, cell_types):
    """Squares, squares beside triangles, any polygons: all of the area is coloured."""
    pos = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1]])
    cells = torch.full((2, width), -1)
    cells[0, :4], cells[1, :3] = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 4, 5])
    if cell_types[1] == 9:
        cells[1, 3] = 2
    data = Data(pos=pos, cells=cells, cell_types=torch.tensor(cell_types, dtype=torch.int8))
    axes = Figure().subplots()
    drawn = plot.draw_field(axes, data, np.arange(6.0))
    corners = drawn._triangulation.triangles
    a, b, c = (pos[corners[:, i]].double() for i in range(3))
    area = torch.linalg.det(torch.stack([b - a, c - a], dim=1)).abs().sum() / 2
    assert float(area) == pytest.approx(2.0 if cell_types[1] == 9 else 1.5)


def test_pictures_are_taken_only_where_another_process_could(monkeypatch):
    assert solids.can_take_pictures()  # the tests' environment has pyvista, and it works
    (row,) = plot_fields.three_in_a_row(Figure(), 1, SOLID)
    assert all(ax.name == "rectilinear" for ax in row)
    monkeypatch.setattr(solids.sys, "executable", "/bin/false")
    solids.can_take_pictures.cache_clear()
    try:
        assert not solids.can_take_pictures()
        (row,) = plot_fields.three_in_a_row(Figure(), 1, SOLID)
        assert all(ax.name == "3d" for ax in row)
    finally:
        solids.can_take_pictures.cache_clear()


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32) | st.just(np.nan), max_size=30),
        min_size=1,
        max_size=4,
    )
)
def test_values_are_counted_piece_by_piece(pieces):
    arrays = [np.array(piece, dtype=np.float32) for piece in pieces]
    counts, edges = curves._counted(lambda: iter(arrays), 7)
    known = np.concatenate(arrays)
    known = known[np.isfinite(known)]
    assert counts.sum() == len(known)
    assert (np.diff(edges) > 0).all()
    if len(known) and np.ptp(known) > 1e-5 * abs(known.max()):
        np.testing.assert_array_equal(counts, np.histogram(known.astype(float), edges)[0])
        assert edges[0] == known.min()
        assert edges[-1] == known.max()


@pytest.mark.parametrize("components", [(), ("x", "y", "z")])
@pytest.mark.parametrize("can_take_pictures", [True, False])
def test_comparisons_sheets_and_histograms_of_solids(
    tmp_path, monkeypatch, components, can_take_pictures
):
    monkeypatch.setattr(plot_fields, "can_take_pictures", lambda: can_take_pictures)
    field = Field("u", "m", components)
    fields = {"y": (field,), "cond": (Field("load", "N"), Field("size", "N"))}
    graphs = []
    for number in range(4):
        data = SOLID.clone()
        data.y = torch.rand(5, field.width) + number
        data.cond = torch.tensor([[number, 1000 + 1e-4 * number]])  # as good as one value
        graphs.append(data)
    store = MeshStore.write(tmp_path / "s.h5", graphs, fields)
    meshes = [("one", store[0], store[0].y.numpy()), ("two", store[1], store[1].y.numpy() + 1)]
    plot.compare(meshes, fields["y"], "u", tmp_path / "compare.png")
    plot.sample_sheet(store, [0, 1, 2, 3], "u", tmp_path / "sheet.png")
    plot.histograms(store, tmp_path / "histograms.png")
    for data in graphs:
        data.states = torch.stack([data.y, 2 * data.y], dim=1)
        data.times = torch.tensor([0.0, 0.5], dtype=torch.float64)
        del data.y
    series = MeshStore.write(
        tmp_path / "t.h5", graphs, {"states": (field,), "cond": fields["cond"]}
    )
    plot.sample_sheet(series, [0, 1, 2, 3], "u", tmp_path / "last.png")
    plot.histograms(series, tmp_path / "states.png")
    lines = {"a": (np.array([0.0, 1, 2]), np.array([0.3, 0.2, 0.1]))}
    plot.error_against_distance(lines, "u", tmp_path / "distance.png")
    for name in ("compare", "sheet", "histograms", "last", "states", "distance"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def test_errors_against_parameters_are_those_of_the_largest_budget(tmp_path, monkeypatch):
    """A model that diverged there has none."""
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, path: figures.append(figure))
    models = {
        "whole": [ErrorPoint(10, 2000, 0.5, 0.1), ErrorPoint(20, 2000, 0.4, 0.1)],
        "diverged": [ErrorPoint(10, 3000, 0.3, 0.1)],
    }
    errors_against_budget({"set: field": models}, "steps", tmp_path / "errors.png")
    of_budget, of_size = figures[0].axes
    assert [text.get_text() for text in of_budget.get_xticklabels()] == ["10", "20"]
    drawn = [container.lines[0].get_xydata().tolist() for container in of_size.containers]
    assert drawn == [[[2.0, 0.4]]]
    assert len(of_budget.containers) == 2


def test_of_a_single_budget_errors_are_drawn_against_parameters_alone(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, path: figures.append(figure))
    models = {"a": [ErrorPoint(10, 2000, 0.5, 0.1)], "b": [ErrorPoint(10, 3000, 0.3, 0.1)]}
    errors_against_budget({"set: a_field": models}, "steps", tmp_path / "errors.png")
    (of_size,) = figures[0].axes
    assert of_size.get_title() == "set: a field, after 10 steps"
    drawn = [container.lines[0].get_xydata().tolist() for container in of_size.containers]
    assert drawn == [[[2.0, 0.5]], [[3.0, 0.3]]]

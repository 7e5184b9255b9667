"""The convolution on regular grids, against sums over shifted grids."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from lrsa_geo.nn import GeometryOperator, GridConv, NodeLayout, stream

GRIDS = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


def layout_of(rows: torch.Tensor, grid: tuple[int, ...]) -> NodeLayout:
    nodes = torch.Size(grid).numel()
    return NodeLayout.of(rows, torch.arange(len(rows)) // nodes)


def by_shifts(layer: GridConv, rows: torch.Tensor) -> torch.Tensor:
    """The equation: a product for each offset, of what lies there."""
    x = rows.unflatten(0, (-1, *layer.grid))
    y = layer.conv.bias.expand(x.shape).clone()
    for offset in itertools.product((-1, 0, 1), repeat=len(layer.grid)):
        seen = x.roll([-o for o in offset], list(range(1, x.dim() - 1)))
        for axis, (o, joined) in enumerate(zip(offset, layer.periodic, strict=True), 1):
            if o and not joined:
                seen.movedim(axis, 0)[-1 if o == 1 else 0] = 0
        weight = layer.conv.weight[(..., *(o + 1 for o in offset))]
        y += seen @ weight.T
    return y.flatten(0, -2)


@settings(max_examples=25, deadline=None)
@given(grid=GRIDS, joined=st.lists(st.booleans(), min_size=3, max_size=3), graphs=st.integers(1, 3))
def test_it_is_a_sum_over_neighbours(grid, joined, graphs):
    torch.manual_seed(0)
    layer = GridConv(3, grid, joined[: len(grid)]).double()
    torch.nn.init.normal_(layer.conv.bias)
    rows = torch.randn(graphs * torch.Size(grid).numel(), 3, dtype=torch.float64)
    found = layer(rows, layout_of(rows, grid))
    torch.testing.assert_close(found, by_shifts(layer, rows), atol=1e-12, rtol=1e-12)


def test_a_periodic_one_commutes_with_shifts():
    torch.manual_seed(0)
    layer = GridConv(2, (5, 4), periodic=True).double()
    x = torch.randn(1, 5, 4, 2, dtype=torch.float64)
    moved = x.roll((2, 1), (1, 2))
    rows, there = x.reshape(-1, 2), moved.reshape(-1, 2)
    layout = layout_of(rows, (5, 4))
    shifted = layer(rows, layout).reshape(1, 5, 4, 2).roll((2, 1), (1, 2)).reshape(-1, 2)
    torch.testing.assert_close(layer(there, layout), shifted, atol=1e-12, rtol=1e-12)
    fixed = GridConv(2, (5, 4)).double()
    assert not torch.allclose(fixed(there, layout), fixed(rows, layout).roll(1, 0))


def test_gradients():
    layer = GridConv(2, (3, 4), periodic=(True, False)).double()
    x = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda rows: layer(rows, layout_of(rows, (3, 4))), x)


def on_grid(order: str = "global-first", **options) -> GeometryOperator:
    torch.manual_seed(0)
    sizes = {"channels": 8, "depth": 2, "heads": 2, "num_latents": 4}
    grid = {"local": "GridConv", "local_options": {"grid": [5, 4], **options}}
    return GeometryOperator(3, 1, 2, **sizes, **grid, order=order).double()


@pytest.mark.parametrize("order", ["local-first", "global-first", "parallel"])
def test_in_an_operator_it_needs_no_edges_and_graphs_stay_apart(order):
    model = on_grid(order)
    assert not model.needs_edges
    x, pos = torch.randn(40, 3, dtype=torch.float64), torch.rand(40, 2, dtype=torch.float64)
    together = model(x, pos, torch.arange(40) // 20)
    alone = torch.cat([model(x[:20], pos[:20]), model(x[20:], pos[20:])])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=1e-12)
    # Interleaved graphs: each keeps the order of its own nodes.
    mixed = torch.arange(40).reshape(2, 20).T.reshape(-1)
    found = model(x[mixed], pos[mixed], torch.arange(40)[mixed] // 20)
    torch.testing.assert_close(found, together[mixed], atol=1e-12, rtol=1e-12)


def test_it_starts_as_small_as_the_other_branches():
    model = on_grid()
    bound = 2 * (9 * 8) ** -0.5 * (2 * 2) ** -0.5  # cut at two deviations, times 1/sqrt(2 depth)
    weight = model.blocks[0].local.conv.conv.weight
    assert 0.5 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": []}, "`grid` is empty"),
        ({"grid": [5, 0]}, "at least one point"),
        ({"grid": [2, 2, 2, 2]}, "one to three axes"),
        ({"periodic": [True]}, "`periodic` has 1 values for 2 axes"),
        ({"width": 4}, "`width` is 4, expected an odd number"),
        ({"width": 11, "periodic": True}, "a periodic axis has 4 points, fewer than the 5"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        on_grid(**options)


def test_what_is_no_such_grid_is_refused():
    model = on_grid()
    x, pos = torch.randn(40, 3).double(), torch.rand(40, 2).double()
    with pytest.raises(ValueError, match=r"a graph has 21 nodes, expected the 20 .* GridConv"):
        model(x, pos, (torch.arange(40) > 20).long())  # 21 and 19
    passive = torch.ones(20)
    passive[3] = 0
    with pytest.raises(ValueError, match="a node has no measure"):
        model(x[:20], pos[:20], measure=passive)
    with pytest.raises(ValueError, match="the local layer GridConv"):
        stream(model, x[:20], pos[:20])

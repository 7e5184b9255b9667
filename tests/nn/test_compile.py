"""A compiled operator: one graph for batches of any sizes, and the same values."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from lrsa_geo.nn import MIXERS, GeometryOperator, GraphLayout

SIZES = [[20, 31, 7], [55, 3, 90], [400, 12, 350], [30, 30, 30], [9, 40, 77], [64, 64, 64]]
ON_ANY_MESH = sorted(set(MIXERS) - {"spectral"})


def model(**changes):
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 1, "heads": 2, "num_latents": 4}
    return GeometryOperator(2, 1, 2, **sizes, **changes).double()


def batches(with_cond=False):
    for sizes in SIZES:
        nodes = sum(sizes)
        pos, x = torch.rand(nodes, 2).double(), torch.randn(nodes, 2).double()
        measure = torch.rand(nodes).double()
        batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        cond = torch.randn(len(sizes), 3).double() if with_cond else None
        yield x, pos, GraphLayout.of(pos, batch, measure=measure), cond


def check(operator, most, **options):
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(operator, dynamic=True, backend=counter)
    for x, pos, layout, cond in batches(**options):
        found = compiled(x, pos, layout.together(), cond=cond)
        found_grads = torch.autograd.grad(found.sum(), list(operator.parameters()))
        expected = operator(x, pos, layout, cond=cond)
        grads = torch.autograd.grad(expected.sum(), list(operator.parameters()))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found_grads, grads)
    assert counter.frame_count <= most


@pytest.mark.parametrize("mixer", ON_ANY_MESH)
def test_batches_of_other_sizes_are_not_compiled_anew(mixer):
    """Two graphs in all: one for meshes of one size, and one for those of several."""
    check(model(mixer=mixer), most=2)


def test_conditions_and_relative_positions():
    check(model(cond_channels=3, relative_positions=True), most=2, with_cond=True)


def test_blocks_that_are_worked_out_again_are_compiled_one_by_one():
    """As they are; checkpoints end a graph."""
    operator = model(checkpoint=True)
    check(operator, most=2 * (1 + 2 * len(operator.blocks)))


def test_together_is_the_same_layout_in_one_call():
    for x, pos, layout, _ in batches():
        together = layout.together()
        assert len(together.nodes.groups) == 1
        assert together.nodes.sizes == layout.nodes.sizes
        moved = together.to(torch.device("cpu"))
        assert len(moved.nodes.groups) == 1
        operator = model()
        torch.testing.assert_close(operator(x, pos, moved), operator(x, pos, layout))

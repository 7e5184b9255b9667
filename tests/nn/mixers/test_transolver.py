"""Physics-Attention: the formula written out, and the promises that all mixers keep."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.nn import GeometryOperator, NodeLayout, PhysicsAttention


def make(channels: int = 12, heads: int = 3, latents: int = 5) -> PhysicsAttention:
    torch.manual_seed(0)
    layer = PhysicsAttention(channels, heads, latents).double()
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer


def formula(layer: PhysicsAttention, x: torch.Tensor, measure: torch.Tensor) -> torch.Tensor:
    """One graph, head by head, as in the docstring; the measure over its mean."""
    keys, values = layer.to_keys_values(x).chunk(2, dim=1)
    width = layer.channels // layer.heads
    outputs = []
    for head in range(layer.heads):
        columns = slice(head * width, (head + 1) * width)
        s = (layer.to_slices(keys[:, columns]) / layer.temperature[head]).softmax(1)
        weighted = s * (measure / measure.mean())[:, None]
        z = weighted.T @ values[:, columns] / (weighted.sum(0)[:, None] + 1e-5)
        q, k, v = layer.to_qkv(z).chunk(3, dim=1)
        outputs.append(s @ (q @ k.T / width**0.5).softmax(1) @ v)
    return layer.reconstruct_out(torch.cat(outputs, dim=1))


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_formula_on_packed_and_padded_graphs(sizes, seed):
    layer = make()
    generator = torch.Generator().manual_seed(seed)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(batch), 12, generator=generator, dtype=torch.float64)
    measure = torch.rand(len(batch), generator=generator, dtype=torch.float64) + 0.1
    expected = torch.cat(
        [formula(layer, x[batch == g], measure[batch == g]) for g in range(len(sizes))]
    )
    torch.testing.assert_close(layer(x, batch, measure=measure), expected)
    order = torch.randperm(len(batch), generator=generator)
    shuffled = layer(x[order], batch[order], measure=measure[order])
    torch.testing.assert_close(shuffled, expected[order])

    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    dense = torch.full((*mask.shape, 12), 7.0, dtype=torch.float64)
    weights = torch.ones(mask.shape, dtype=torch.float64)
    dense[mask], weights[mask] = x, measure
    torch.testing.assert_close(layer(dense, mask=mask, measure=weights)[mask], expected)


def test_a_passive_node_listens_and_is_not_heard():
    layer, x = make(), torch.randn(9, 12, dtype=torch.float64)
    measure = torch.ones(9, dtype=torch.float64)
    measure[2] = 0
    other = x.clone()
    other[2] += 3
    before, after = layer(x, measure=measure), layer(other, measure=measure)
    heard = torch.arange(9) != 2
    torch.testing.assert_close(after[heard], before[heard])
    assert not torch.allclose(after[2], before[2])
    alone = layer(x[heard], measure=measure[heard])
    torch.testing.assert_close(before[heard], alone)


def test_empty_and_massless_graphs_and_gradients():
    layer = make()
    assert layer(torch.zeros(0, 12, dtype=torch.float64)).shape == (0, 12)
    x = torch.randn(7, 12, dtype=torch.float64, requires_grad=True)
    batch = torch.tensor([0] * 4 + [2] * 3)  # graph 1 has no node, graph 2 no mass
    measure = torch.tensor([1.0] * 4 + [0] * 3, dtype=torch.float64)
    y = layer(x, batch, measure=measure)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert torch.autograd.gradcheck(lambda rows: layer(rows, batch), x)


def test_a_condition_modulates_the_slices():
    layer, x = make(), torch.randn(9, 12, dtype=torch.float64)
    layout = NodeLayout.of(x)
    still = layer.mix(x, layout, torch.zeros(1, 24, dtype=torch.float64))
    torch.testing.assert_close(still, layer(x))
    assert not torch.allclose(layer.mix(x, layout, torch.ones(1, 24, dtype=torch.float64)), still)


def test_heads_must_divide_channels():
    with pytest.raises(ValueError, match="`channels` is 12, expected a multiple of `heads` = 5"):
        PhysicsAttention(12, 5)


@pytest.mark.parametrize("mixer", ["transolver", "none"])
def test_the_operator_with_another_mixer_has_the_same_promises(mixer):
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "cond_channels": 1}
    model = GeometryOperator(0, 1, 2, mixer=mixer, local="MeshConv", **sizes).double()
    torch.nn.init.normal_(model.condition.to_modulations.weight, std=0.3)
    pos = torch.rand(12, 2, dtype=torch.float64)
    batch = torch.tensor([0] * 5 + [1] * 7)
    edges = torch.tensor([[0, 1, 2, 5, 6, 7, 8], [1, 2, 0, 6, 5, 8, 7]])
    cond = torch.rand(2, 1, dtype=torch.float64)
    y = model(None, pos, batch, edge_index=edges, cond=cond)
    alone = model(None, pos[:5], edge_index=edges[:, :3], cond=cond[:1])
    torch.testing.assert_close(y[:5], alone)
    moved = model(None, pos, batch, edge_index=edges, cond=cond + 1)
    assert ((moved - y).abs() > 1e-6).all()  # the condition reaches every node


def test_nothing_that_mixes_is_refused():
    with pytest.raises(ValueError, match="nothing would mix the nodes"):
        GeometryOperator(0, 1, 2, mixer="none")
    with pytest.raises(ValueError, match="nothing would mix the nodes"):
        GeometryOperator(0, 1, 2, mixer="none", local="MeshConv", local_blocks=(0,))
    with pytest.raises(ValueError, match="`mixer` is 'fno', expected one of"):
        GeometryOperator(0, 1, 2, mixer="fno")

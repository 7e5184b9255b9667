"""The peers of LRSA: each against its equations, written out for one graph, node by latent.

What all mixers promise (packed and padded, order, sums over parts, passive nodes) is in
``test_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lrsa_geo.nn import (
    FLARE,
    MIXERS,
    CompressOnce,
    DirectLRSA,
    DirectSymmetricLRSA,
    FLAREPlus,
    FullAttention,
    FunctionalAttention,
    GeometryOperator,
    LightLRSA,
    LowRankMixer,
    NodeLayout,
    PhysicsAttention,
    SymmetricLRSA,
)

CHANNELS, HEADS, LATENTS = 12, 3, 5
WIDTH = CHANNELS // HEADS


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def of_head(rows: Tensor, head: int) -> Tensor:
    return rows[..., head * WIDTH : (head + 1) * WIDTH]


def residual_mlp(mlp: torch.nn.Module, x: Tensor) -> Tensor:
    if isinstance(mlp, torch.nn.Linear):
        return x @ mlp.weight.T + mlp.bias
    for layer in mlp.hidden:
        x = x + F.gelu(x @ layer.weight.T + layer.bias, approximate="tanh")
    return x + x @ mlp.out.weight.T + mlp.out.bias


def flare(layer: FLARE, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = residual_mlp(layer.to_keys, x), residual_mlp(layer.to_values, x)
    outputs = []
    for head in range(HEADS):
        logits = layer.latents[:, head] @ of_head(keys, head).T  # [M, N], scale 1
        gathered = (logits + measure.log()).softmax(1) @ of_head(values, head)
        outputs.append(logits.T.softmax(1) @ gathered)
    return layer.reconstruct_out(torch.cat(outputs, 1))


def gathered(logits: list[Tensor], values: Tensor, measure: Tensor) -> Tensor:
    """Means of the values over the nodes, a softmax of the logits ``[M, N]`` for each head."""
    means = [
        (of_one + measure.log()).softmax(1) @ of_head(values, head)
        for head, of_one in enumerate(logits)
    ]
    return torch.cat(means, 1)


def read(logits: list[Tensor], latents: Tensor) -> Tensor:
    """Means of the latents, a softmax over them of the logits ``[M, N]`` for each head."""
    means = [of_one.T.softmax(1) @ of_head(latents, head) for head, of_one in enumerate(logits)]
    return torch.cat(means, 1)


def logits_of_latents(layer: DirectLRSA | SymmetricLRSA, keys: Tensor) -> list[Tensor]:
    return [
        rms(layer.latents[:, h]) * layer.latent_norm.gain @ rms(of_head(keys, h)).T / WIDTH**0.5
        for h in range(HEADS)
    ]


def symmetric(layer: SymmetricLRSA, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = layer.to_keys_values(x).chunk(2, 1)
    logits = logits_of_latents(layer, keys)
    z = layer.process(layer.compress_out(gathered(logits, values, measure))[None])[0]
    return layer.reconstruct_out(read(logits, rms(z) @ layer.to_latent_values.weight.T))


def symmetric_direct(layer: DirectSymmetricLRSA, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = layer.to_keys_values(x).chunk(2, 1)
    logits = logits_of_latents(layer, keys)
    z = layer.process(gathered(logits, values, measure)[None])[0]
    return layer.reconstruct_out(read(logits, z))


def light(layer: LightLRSA, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = layer.to_keys_values(x).chunk(2, 1)
    logits = logits_of_latents(layer, keys)
    z = gathered(logits, values, measure)
    for block in layer.latent_blocks:
        hidden, out = block.ffn_before.hidden, block.ffn_before.out
        wide = F.gelu(rms(z) @ hidden.weight.T + hidden.bias)
        z = z + wide @ out.weight.T + out.bias
    return layer.reconstruct_out(read(logits, z))


def direct(layer: DirectLRSA, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = layer.to_keys_values(x).chunk(2, 1)
    queries = x @ layer.to_queries.weight.T
    z = layer.process(gathered(logits_of_latents(layer, keys), values, measure)[None])[0]
    of_z = rms(z) @ layer.to_latent_keys.weight.T + layer.latent_keys.flatten(1)
    gain = layer.latent_key_norm.gain
    logits = [rms(of_head(of_z, h)) * gain @ rms(of_head(queries, h)).T for h in range(HEADS)]
    return layer.reconstruct_out(read([of_one / WIDTH**0.5 for of_one in logits], z))


def functional(layer: FunctionalAttention, x: Tensor, measure: Tensor) -> Tensor:
    keys, values = layer.to_keys_values(x).chunk(2, 1)
    alpha = torch.sigmoid(layer.regularisation)
    outputs = []
    for head in range(HEADS):
        basis = (layer.to_slices(of_head(keys, head)) / layer.temperature[head]).softmax(1)
        weighted = basis * (measure / measure.mean())[:, None]
        z = weighted.T @ of_head(values, head) / (weighted.sum(0)[:, None] + 1e-5)
        q, k, v = layer.to_qkv(z).chunk(3, 1)
        # C minimises (1 - alpha) |C k - q|^2 + alpha |C|^2 over the M x M maps of coefficients.
        gram = (1 - alpha) * k.T @ k + alpha * torch.eye(WIDTH, dtype=x.dtype)
        outputs.append(basis @ (q @ gram.inverse() @ k.T) @ v)
    return layer.reconstruct_out(torch.cat(outputs, 1))


PEERS: dict[str, tuple[Callable[[], LowRankMixer], Callable[..., Tensor]]] = {
    "flare": (lambda: FLARE(CHANNELS, HEADS, LATENTS), flare),
    "flare, linear": (lambda: FLARE(CHANNELS, HEADS, LATENTS, kv_layers=-1), flare),
    "flare, no hidden": (lambda: FLARE(CHANNELS, HEADS, LATENTS, kv_layers=0), flare),
    "symmetric": (lambda: SymmetricLRSA(CHANNELS, HEADS, LATENTS, latent_depth=2), symmetric),
    "direct": (lambda: DirectLRSA(CHANNELS, HEADS, LATENTS, latent_depth=2), direct),
    "symmetric, direct": (
        lambda: DirectSymmetricLRSA(CHANNELS, HEADS, LATENTS, latent_depth=2),
        symmetric_direct,
    ),
    "light": (lambda: LightLRSA(CHANNELS, HEADS, LATENTS, latent_depth=2), light),
    "functional": (lambda: FunctionalAttention(CHANNELS, HEADS, LATENTS), functional),
}


@pytest.mark.parametrize("name", PEERS)
@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_the_formula(name, sizes, seed):
    kind, formula = PEERS[name]
    torch.manual_seed(seed)
    layer = kind().double()
    for parameter in layer.parameters():  # a layer in use differs from its start
        parameter.data += 0.1 * torch.randn_like(parameter)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(batch), CHANNELS, dtype=torch.float64)
    measure = torch.rand(len(batch), dtype=torch.float64) + 0.1
    expected = torch.cat(
        [formula(layer, x[batch == g], measure[batch == g]) for g in range(len(sizes))]
    )
    found = layer(x, batch, measure=measure)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_functional_attention_solves_its_least_squares_problem():
    """The gradient of (1 - a) |C k - q|^2 + a |C|^2 over row-space maps C vanishes."""
    torch.manual_seed(0)
    layer = FunctionalAttention(CHANNELS, 1, LATENTS).double()
    z = torch.randn(1, LATENTS, CHANNELS, dtype=torch.float64)
    q, k, v = layer.to_qkv(z[0]).chunk(3, 1)
    alpha = layer.regularisation.sigmoid()
    gram = (1 - alpha) * k.T @ k + alpha * torch.eye(CHANNELS, dtype=torch.float64)
    operator = torch.linalg.solve(gram, k.T @ v)
    residual = k.T @ v - ((1 - alpha) * k.T @ (k @ operator) + alpha * operator)
    assert residual.abs().max() < 1e-12
    torch.testing.assert_close(layer.process(z)[0], q @ operator)


def test_functional_attention_works_in_half_precision():
    layer = FunctionalAttention(CHANNELS, HEADS, LATENTS)
    x = torch.randn(30, CHANNELS)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.isfinite().all()
    assert (rounded.float() - exact).norm() < 0.1 * exact.norm()


def test_slices_start_as_they_are_asked_to():
    torch.manual_seed(0)
    rows = PhysicsAttention(64, heads=4, num_latents=8).to_slices.weight
    torch.testing.assert_close(rows @ rows.T, torch.eye(8), atol=1e-5, rtol=0)
    small = PhysicsAttention(64, heads=4, num_latents=64, slices_start="small").to_slices.weight
    assert float(small.detach().std()) == pytest.approx(0.02, rel=0.1)
    with pytest.raises(ValueError, match="slices_start"):
        PhysicsAttention(64, slices_start="large")


@pytest.mark.parametrize("name", MIXERS)
def test_options_reach_a_mixer_and_unknown_ones_are_named(name):
    sizes = {"channels": 12, "depth": 1, "heads": 3, "num_latents": 5}
    grid = {"grid": [4, 5], "modes": 2} if name == "spectral" else {}
    GeometryOperator(1, 1, 2, mixer=name, mixer_options=grid, **sizes)
    with pytest.raises(ValueError, match="`mixer_options` names colour, which"):
        GeometryOperator(1, 1, 2, mixer=name, mixer_options={"colour": 1}, **sizes)


def test_an_option_changes_the_mixer():
    sizes = {"channels": 12, "depth": 2, "heads": 3, "num_latents": 5}
    model = GeometryOperator(1, 1, 2, mixer_options={"sharpness": 3.0}, **sizes)
    assert all((block.mixer.latent_norm.gain == 3).all() for block in model.blocks)
    model = GeometryOperator(1, 1, 2, mixer="flare", mixer_options={"kv_layers": -1}, **sizes)
    assert all(isinstance(block.mixer.to_keys, torch.nn.Linear) for block in model.blocks)


def test_full_attention_is_its_equation():
    torch.manual_seed(0)
    layer = FullAttention(12, heads=3).double()
    x, measure = torch.randn(17, 12).double(), torch.rand(17).double()
    measure[4] = 0
    q, k, v = layer.to_qkv(x).view(17, 3, 3, 4).permute(1, 2, 0, 3)
    q, k = (t / (t.square().mean(-1, keepdim=True) + 1e-6).sqrt() for t in (q, k))
    logits = q @ (2 * k).mT / 2
    weights = measure * logits.exp()
    y = (weights / weights.sum(-1, keepdim=True)) @ v
    expected = layer.reconstruct_out(y.transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(x, measure=measure), expected, atol=1e-12, rtol=1e-12)


def test_full_attention_refuses_large_graphs():
    layer = FullAttention(4, heads=1, max_nodes=6)
    layer(torch.randn(12, 4), torch.arange(12) // 6)
    with pytest.raises(ValueError, match="a graph has 7 nodes, and full attention takes at most 6"):
        layer(torch.randn(9, 4), torch.arange(9) // 7)


def test_flare_plus_is_its_equations():
    torch.manual_seed(0)
    layer = FLAREPlus(12, heads=3, num_latents=5).double()
    for parameter in layer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    x, measure = torch.randn(17, 12).double(), torch.rand(17).double()
    measure[4] = 0

    def per_head(rows):
        return rows.view(-1, 3, 4).transpose(0, 1)

    def normed(rows):
        centred = rows - rows.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def gathered(queries, keys, values):
        weights = (queries @ keys.mT / 2).exp() * measure
        return weights / weights.sum(-1, keepdim=True) @ values

    first = layer.first_latents.transpose(0, 1)
    first = normed(first) * layer.first_latent_norm.weight + layer.first_latent_norm.bias
    looked = normed(per_head(layer.to_first_keys(x)))
    moved = layer.gate.sigmoid()[:, None, None] * gathered(first, looked, looked)
    queries = normed(layer.latents.transpose(0, 1)) + moved
    keys = normed(per_head(layer.to_keys(x))) * layer.key_norm.weight + layer.key_norm.bias
    z = gathered(queries, keys, per_head(layer.to_values(x)))
    y = (keys @ queries.mT / 2).softmax(-1) @ z
    expected = layer.reconstruct_out(y.transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(x, measure=measure), expected, atol=1e-12, rtol=1e-12)


def test_a_network_that_compresses_once_is_one_block_with_a_deep_mixer():
    torch.manual_seed(0)
    sizes = {"channels": 12, "depth": 3, "heads": 3, "num_latents": 5, "cond_channels": 2}
    model = GeometryOperator(1, 1, 2, compress_once=True, **sizes)
    (block,) = model.blocks
    assert isinstance(block.mixer, CompressOnce)
    assert len(block.mixer.blocks) == 3
    x, pos, cond = torch.randn(9, 12), torch.rand(9, 2), torch.randn(1, 2)
    layout = NodeLayout.of(x)
    nodes = block.mixer.prepare(x)
    deep = block.mixer.compress(nodes, layout)
    for latent_block in [*block.mixer.mixer.latent_blocks, *block.mixer.blocks]:
        deep = latent_block(deep)
    expected = block.mixer.mixer.reconstruct(nodes, deep, layout)
    torch.testing.assert_close(block.mixer(x), expected)
    model(torch.randn(9, 1), pos, cond=cond).sum().backward()
    assert all(p.grad is not None for p in block.mixer.parameters())


@pytest.mark.parametrize("mixer", ["none", "full", "flare_plus"])
def test_what_has_no_latents_cannot_compress_once(mixer):
    with pytest.raises(ValueError, match="`compress_once`"):
        GeometryOperator(1, 1, 2, mixer=mixer, local="MeshConv", compress_once=True)

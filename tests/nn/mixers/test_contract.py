"""What every registered mixer promises, whatever it does: the contract of ``mixers/base.py``."""

from __future__ import annotations

from functools import reduce
from inspect import signature
from operator import add

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrsa_geo.nn import (
    LRSA,
    MIXERS,
    CompressOnce,
    GeometryOperator,
    LowRankMixer,
    Mixer,
    NodeLayout,
    SpectralMixer,
)
from lrsa_geo.nn.registry import build

CHANNELS = 12
SIZES = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


def once(channels: int, heads: int, num_latents: int) -> CompressOnce:
    """A mixer with a network on its latents: a mixer, too."""
    return CompressOnce(LRSA(channels, heads, num_latents), heads, depth=2)


ON_MESHES = {name: mixer for name, mixer in MIXERS.items() if mixer is not SpectralMixer}
KINDS = {**ON_MESHES, "compress once": once}
NAMES = pytest.mark.parametrize("name", KINDS)
OTHERS = [name for name, mixer in MIXERS.items() if not issubclass(mixer, LowRankMixer)]
OF_LOW_RANK = pytest.mark.parametrize("name", [name for name in KINDS if name not in OTHERS])


def make(name: str, dtype: torch.dtype = torch.float64) -> Mixer:
    torch.manual_seed(0)
    sizes = {"channels": CHANNELS, "heads": 3, "num_latents": 5}
    layer = build(KINDS[name], sizes, "mixer")
    for parameter in layer.parameters():  # a layer in use differs from its start
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer.to(dtype)


def packed(sizes: list[int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Features, batch and measure of graphs of these sizes."""
    generator = torch.Generator().manual_seed(sum(sizes))
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(batch), CHANNELS, generator=generator, dtype=dtype)
    return x, batch, torch.rand(len(batch), generator=generator, dtype=dtype) + 0.1


@NAMES
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, weighted=st.booleans())
def test_packed_padded_and_alone_agree(name, sizes, weighted):
    layer = make(name)
    x, batch, measure = packed(sizes)
    together = layer(x, batch, measure=measure if weighted else None)

    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    dense = torch.full((*mask.shape, CHANNELS), 7.0, dtype=x.dtype)
    weights = torch.full(mask.shape, 3.0, dtype=x.dtype)
    dense[mask], weights[mask] = x, measure
    of_dense = layer(dense, mask=mask, measure=weights if weighted else None)
    torch.testing.assert_close(of_dense[mask], together, atol=1e-10, rtol=0)
    assert (of_dense[~mask] == 0).all()

    for graph, size in enumerate(sizes):
        rows = batch == graph
        alone = layer(x[rows], measure=measure[rows] if weighted else None)
        assert alone.shape == (size, CHANNELS)
        torch.testing.assert_close(alone, together[rows], atol=1e-10, rtol=0)


@NAMES
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_order_of_nodes_and_of_the_batch_does_not_matter(name, sizes, seed):
    layer = make(name)
    x, batch, measure = packed(sizes)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    expected = layer(x, batch, measure=measure)[order]
    found = layer(x[order], batch[order], measure=measure[order])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@OF_LOW_RANK
@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=4).filter(any),
    parts=st.integers(1, 5),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_summaries_of_parts_add_up_to_that_of_all(name, sizes, parts, weighted, seed):
    """Streaming and sharding: the latents, and what flows back through them, are the same."""
    layer = make(name)
    x, batch, measure = packed(sizes)
    measure[::4] = 0
    generator = torch.Generator().manual_seed(seed)
    part_of_node = torch.randint(parts, (len(x),), generator=generator)
    weights = measure if weighted else None

    def latents(x: Tensor, rows: Tensor) -> object:
        layout = NodeLayout.of(
            x[rows],
            batch[rows],
            batch_size=len(sizes),
            measure=None if weights is None else weights[rows],
        )
        return layer.summarize(layer.prepare(x[rows]), layout)

    x.requires_grad_()
    whole = layer.compress(
        layer.prepare(x), NodeLayout.of(x, batch, batch_size=len(sizes), measure=weights)
    )
    summaries = [latents(x, part_of_node == part) for part in range(parts)]
    added = layer.latents_of(reduce(add, summaries))
    torch.testing.assert_close(added, whole, atol=1e-12, rtol=1e-12)
    cotangent = torch.randn(whole.shape, generator=generator, dtype=whole.dtype)
    (expected,) = torch.autograd.grad(whole, x, cotangent, retain_graph=True)
    (found,) = torch.autograd.grad(added, x, cotangent)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@OF_LOW_RANK
def test_what_two_passes_prepare_is_what_one_does(name):
    """Streaming prepares the nodes for compress, and later once more for reconstruct."""
    layer = make(name)
    x, batch, measure = packed([5, 3])
    layout = NodeLayout.of(x, batch, measure=measure)
    z = layer.process(layer.latents_of(layer.summarize(layer.to_compress(x), layout)))
    found = layer.reconstruct(layer.to_reconstruct(x), z, layout)
    torch.testing.assert_close(found, layer(x, layout), atol=1e-12, rtol=1e-12)


@OF_LOW_RANK
def test_summaries_of_one_set_twice_are_that_of_the_set(name):
    """Equal masses on both sides: the sum and its derivative have no exception there."""
    layer = make(name)
    x, _, _ = packed([9])
    x.requires_grad_()
    once = NodeLayout.of(x)
    summary = layer.summarize(layer.prepare(x), once)
    twice = NodeLayout.of(torch.cat([x, x]))
    whole = layer.compress(layer.prepare(torch.cat([x, x])), twice)
    added = layer.latents_of(summary + summary)
    torch.testing.assert_close(added, whole, atol=1e-12, rtol=1e-12)
    (expected,) = torch.autograd.grad(whole.square().sum(), x, retain_graph=True)
    (found,) = torch.autograd.grad(added.square().sum(), x)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@NAMES
def test_a_node_doubled_with_half_its_weight_is_a_node_once(name):
    layer = make(name)
    x, batch, measure = packed([30, 50])
    twice = torch.arange(80).repeat_interleave(torch.arange(80) % 3 + 1)  # one, two or three times
    count = (torch.arange(80) % 3 + 1.0)[twice]
    found = layer(x[twice], batch[twice], measure=measure[twice] / count)
    # What Transolver divides an empty slice by counts nodes: it shifts by a part in a million.
    tolerance = 1e-5 if name in ("functional", "transolver") else 1e-10
    expected = layer(x, batch, measure=measure)[twice]
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@NAMES
def test_only_the_ratio_of_measures_matters(name):
    layer = make(name)
    x, batch, measure = packed([30, 50])
    expected = layer(x, batch, measure=measure)
    torch.testing.assert_close(layer(x, batch, measure=1e-9 * measure), expected)
    torch.testing.assert_close(layer(x, batch, measure=0 * measure + 3), layer(x, batch))


@NAMES
def test_passive_nodes_read_and_do_not_influence(name):
    layer = make(name)
    x, _, measure = packed([40])
    queries = torch.randn(25, CHANNELS, dtype=torch.float64)
    weights = torch.cat([measure, torch.zeros(25).double()])
    with_queries = layer(torch.cat([x, queries]), measure=weights)
    torch.testing.assert_close(with_queries[:40], layer(x, measure=measure), atol=1e-10, rtol=0)
    at_a_node = layer(torch.cat([x, x[:1]]), measure=torch.cat([measure, torch.zeros(1).double()]))
    torch.testing.assert_close(at_a_node[40], at_a_node[0])


@NAMES
@pytest.mark.parametrize("sizes", [[0, 5], [5, 0], [0, 0, 3, 0], [1], [1, 1, 1], [0], [40, 0, 39]])
def test_graphs_of_no_node_of_one_and_without_mass(name, sizes):
    layer = make(name)
    x, batch, measure = packed(sizes)
    x.requires_grad_()
    for weights in (None, measure, 0 * measure):
        y = layer(x, batch, measure=weights)
        assert y.shape == x.shape
        assert y.isfinite().all()
        y.sum().backward()
        assert x.grad is None or x.grad.isfinite().all()


@OF_LOW_RANK
def test_a_graph_without_mass_compresses_as_one_without_nodes(name):
    layer = make(name)
    x, batch, measure = packed([6, 9])
    measure[batch == 1] = 0
    z = layer.compress(layer.prepare(x), NodeLayout.of(x, batch, measure=measure))
    empty = layer.compress(layer.prepare(x[:0]), NodeLayout.of(x[:0]))
    torch.testing.assert_close(z[1], empty[0])


@NAMES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(name, dtype):
    layer = make(name, torch.float32)
    x, batch, measure = packed([20, 33, 0, 400], torch.float32)
    expected = layer(x, batch, measure=measure)
    with torch.autocast("cpu", dtype):
        found = layer(x, batch, measure=measure)
        found.float().sum().backward()
    assert (found.float() - expected).norm() / expected.norm() < 0.03
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@NAMES
def test_a_condition_enters_through_the_latents(name):
    layer = make(name)
    x, batch, _ = packed([7, 5])
    layout = NodeLayout.of(x, batch)
    nothing = torch.zeros(2, 2 * CHANNELS, dtype=torch.float64)
    torch.testing.assert_close(layer.mix(x, layout, nothing), layer.mix(x, layout))
    of_second = nothing.clone()
    of_second[1] = 0.5
    changed = layer.mix(x, layout, of_second)
    torch.testing.assert_close(changed[:7], layer.mix(x, layout)[:7])
    assert (changed[7:] - layer.mix(x, layout)[7:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ON_MESHES)
def test_a_mixer_by_its_name_its_class_or_a_factory(name):
    sizes = {"channels": 12, "depth": 1, "heads": 3, "num_latents": 5}
    kinds = [name, MIXERS[name], lambda **sizes: build(MIXERS[name], sizes, name)]
    pos, outputs = torch.rand(9, 2), []
    for kind in kinds:
        torch.manual_seed(0)
        outputs.append(GeometryOperator(0, 1, 2, mixer=kind, **sizes)(None, pos))
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        ("lrsb", r"`mixer` is 'lrsb', expected one of \[.*'lrsa'"),
        (lambda channels, secret: LRSA(channels), "needs more than channels, heads"),
        (
            lambda channels: torch.nn.Linear(channels, channels),
            "makes a Linear, expected",
        ),
    ],
)
def test_a_mixer_that_does_not_fit_is_named(mixer, message):
    with pytest.raises(ValueError, match=message):
        GeometryOperator(0, 1, 2, mixer=mixer)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("size", ["heads", "num_latents"])
def test_a_size_below_one_is_named(name, size):
    options = {"grid": (3, 3)} if MIXERS[name] is SpectralMixer else {}
    for value in (0, -2):
        sizes = {"channels": 8, "heads": 2, "num_latents": 4, size: value}
        if size not in signature(MIXERS[name]).parameters:
            continue
        with pytest.raises(ValueError, match=f"`{size}` is {value}, expected at least 1"):
            build(MIXERS[name], {**sizes, **options}, name)


@pytest.mark.parametrize("name", ["lrsa", "linear"])
def test_a_measure_in_half_precision_is_summed_in_whole(name):
    """The sum of 5,000 ones in bfloat16 is 256."""
    torch.manual_seed(0)
    layer = MIXERS[name](16, heads=2).bfloat16()
    rows, measure = torch.randn(5000, 16).bfloat16(), torch.ones(5000)
    torch.testing.assert_close(
        layer(rows, measure=measure.bfloat16()), layer(rows, measure=measure), atol=1e-3, rtol=0.02
    )

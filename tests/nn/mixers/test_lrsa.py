"""What the layer promises: independence of companions, order and padding, and exact quadrature."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import Sequential

from lrsa_geo.nn import LRSA, LRSABlock, NodeLayout

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
SIZES = st.lists(st.integers(0, 400), min_size=1, max_size=7).filter(any)


def make(kind: type = LRSA, dtype: torch.dtype = torch.float64, **sizes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    layer = kind(**({"channels": 24, "heads": 3, "num_latents": 8} | sizes))
    # A layer in use has gains and biases that differ from their start.
    for parameter in layer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return layer.to(dtype)


def packed(sizes: list[int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Features, batch and measure of graphs of these sizes."""
    generator = torch.Generator().manual_seed(sum(sizes))
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = torch.randn(len(batch), 24, generator=generator, dtype=dtype)
    return x, batch, torch.rand(len(batch), generator=generator, dtype=dtype) + 0.1


def padded(rows: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """``[R, ...]`` -> dense ``[B, N, ...]``, filled with garbage, and its mask."""
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    dense = torch.full((*mask.shape, *rows.shape[1:]), 7.0, dtype=rows.dtype)
    dense[mask] = rows
    return dense, mask


def plain_formula(layer: LRSA, x: Tensor, measure: Tensor) -> Tensor:
    """The layer on one graph, written out with the matrices of N by M weights."""
    heads = layer.heads

    def split(rows: Tensor) -> Tensor:
        return rows.view(len(rows), heads, -1).transpose(0, 1)

    def normalised(rows: Tensor) -> Tensor:
        return rows / (rows.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    scale = (layer.channels // heads) ** -0.5
    keys, values = layer.to_keys_values(x).chunk(2, dim=1)
    queries = normalised(layer.latents).transpose(0, 1) * layer.latent_norm.gain
    logits = queries @ normalised(split(keys)).mT * scale + measure.log()
    latents = (logits.softmax(-1) @ split(values)).transpose(0, 1).flatten(1)
    z = layer.process(layer.compress_out(latents)[None])[0]
    queries = normalised(split(layer.to_queries(x)))
    keys, values = layer.to_latent_keys_values(normalised(z)).chunk(2, dim=1)
    keys = normalised(split(keys)) * layer.latent_key_norm.gain
    weights = (queries @ keys.mT * scale).softmax(-1)
    return layer.reconstruct_out((weights @ split(values)).transpose(0, 1).flatten(1))


def test_equals_the_formula_written_out():
    layer = make()
    x, _, measure = packed([57])
    expected = plain_formula(layer, x, measure)
    torch.testing.assert_close(layer(x, measure=measure), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", [LRSA, LRSABlock])
@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, weighted=st.booleans())
def test_packed_padded_and_alone_agree(kind, dtype, sizes, weighted):
    layer = make(kind, dtype)
    x, batch, measure = packed(sizes, dtype)
    together = layer(x, batch, measure=measure if weighted else None)

    dense_x, mask = padded(x, sizes)
    dense_measure = padded(measure, sizes)[0] if weighted else None
    dense = layer(dense_x, mask=mask, measure=dense_measure)
    assert (dense[mask] - together).abs().max() <= TOLERANCE[dtype]
    assert (dense[~mask] == 0).all()

    for graph in range(len(sizes)):
        rows = batch == graph
        alone = layer(x[rows], measure=measure[rows] if weighted else None)
        assert alone.shape == (sizes[graph], 24)
        torch.testing.assert_close(alone, together[rows], atol=TOLERANCE[dtype], rtol=0)


@settings(max_examples=15, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_order_of_nodes_and_of_the_batch_does_not_matter(sizes, seed):
    layer = make(LRSABlock)
    x, batch, measure = packed(sizes)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    expected = layer(x, batch, measure=measure)[order]
    found = layer(x[order], batch[order], measure=measure[order])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_a_node_doubled_with_half_its_weight_is_a_node_once():
    layer = make()
    x, batch, measure = packed([30, 50])
    twice = torch.arange(80).repeat_interleave(torch.arange(80) % 3 + 1)  # one, two or three times
    count = (torch.arange(80) % 3 + 1.0)[twice]
    found = layer(x[twice], batch[twice], measure=measure[twice] / count)
    torch.testing.assert_close(found, layer(x, batch, measure=measure)[twice], atol=1e-10, rtol=0)


def test_only_the_ratio_of_measures_matters():
    layer = make()
    x, batch, measure = packed([30, 50])
    expected = layer(x, batch, measure=measure)
    torch.testing.assert_close(layer(x, batch, measure=1e-9 * measure), expected)
    equal = torch.full_like(measure, 3.0)
    torch.testing.assert_close(layer(x, batch, measure=equal), layer(x, batch))


def test_passive_nodes_read_and_do_not_influence():
    layer = make()
    x, _, measure = packed([40])
    queries = torch.randn(25, 24, dtype=torch.float64)
    everything = torch.cat([x, queries])
    with_queries = layer(everything, measure=torch.cat([measure, torch.zeros(25).double()]))
    torch.testing.assert_close(with_queries[:40], layer(x, measure=measure), atol=1e-10, rtol=0)
    at_a_node = layer(torch.cat([x, x[:1]]), measure=torch.cat([measure, torch.zeros(1).double()]))
    torch.testing.assert_close(at_a_node[40], at_a_node[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_refining_a_mesh_converges_like_a_quadrature(weighted):
    """On graded nodes the weighted layer tends to an integral, at the midpoint rule's order 2."""
    layer = make()
    direction = torch.randn(24, dtype=torch.float64)

    def at_probe(n: int) -> Tensor:
        edges = torch.linspace(0, 1, n + 1, dtype=torch.float64) ** 2  # graded towards 0
        middle, width = (edges[1:] + edges[:-1]) / 2, edges.diff()
        probe = torch.tensor([0.3], dtype=torch.float64)
        x = torch.sin(torch.cat([middle, probe])[:, None] * 3 * direction)
        measure = torch.cat([width if weighted else torch.full_like(width, 1 / n), torch.zeros(1)])
        return layer(x, measure=measure)[-1]

    exact = at_probe(20000) if weighted else None
    if weighted:
        errors = [(at_probe(n) - exact).abs().max().item() for n in (20, 40, 80)]
        assert errors[0] / errors[1] > 3.5
        assert errors[1] / errors[2] > 3.5
    else:  # without weights the limit is another integral: the grading of the mesh shows
        uniform = torch.sin(
            torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None] * 3 * direction
        )
        assert (at_probe(4000) - layer(uniform)[1200]).abs().max() > 1e-3


@pytest.mark.parametrize("sizes", [[0, 5], [5, 0], [0, 0, 3, 0], [1], [1, 1, 1], [0]])
def test_graphs_of_no_node_and_of_one(sizes):
    layer = make(LRSABlock)
    x, batch, measure = packed(sizes)
    x.requires_grad_()
    for weights in (None, measure):
        y = layer(x, batch, measure=weights)
        assert y.shape == x.shape
        assert y.isfinite().all()
        y.sum().backward()
        assert x.grad is None or x.grad.isfinite().all()


def test_a_fully_masked_row_is_zero_and_harmless():
    layer = make(LRSABlock)
    x = torch.randn(3, 9, 24, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1] = False
    y = layer(x, mask=mask)
    assert (y[1] == 0).all()
    torch.testing.assert_close(y[[0, 2]], layer(x[[0, 2]]))
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[1] == 0).all()


@pytest.mark.parametrize("sizes", [[6], [6, 9], [0, 6]])
def test_a_graph_without_mass_compresses_to_zeros(sizes):
    layer = make()
    x, batch, measure = packed(sizes)
    measure[batch == len(sizes) - 1] = 0
    layout = NodeLayout.of(x, batch, measure=measure)
    z = layer.compress(layer.prepare(x), layout)
    expected = layer.compress_out.bias.expand(8, 24)  # the projection of zero
    torch.testing.assert_close(z[-1], expected)
    assert layer(x, layout).isfinite().all()


def test_gradients_against_finite_differences():
    layer = make(channels=6, heads=2, num_latents=3)
    x = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    measure = (torch.rand(9, dtype=torch.float64) + 0.2).requires_grad_()
    batch = torch.tensor([0, 0, 0, 0, 1, 1, 3, 3, 3])
    parameters = dict(layer.named_parameters())

    def call(x: Tensor, measure: Tensor, *values: Tensor) -> Tensor:
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(layer, named, (x, batch), {"measure": measure})

    assert torch.autograd.gradcheck(call, (x, measure, *parameters.values()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [LRSA, LRSABlock])
def test_autocast(kind, dtype):
    layer = make(kind, torch.float32)
    x, batch, measure = packed([20, 33, 0, 400], torch.float32)
    expected = layer(x, batch, measure=measure)
    with torch.autocast("cpu", dtype):
        found = layer(x, batch, measure=measure)
        found.float().sum().backward()
    error = (found.float() - expected).norm() / expected.norm()
    assert error < 0.02
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_low_precision_measure_keeps_its_accuracy():
    """Areas of 1e-6 have a logarithm of -14, of which bfloat16 would lose the differences."""
    layer = make(dtype=torch.float32)
    x, _, measure = packed([300], torch.float32)
    small, large = layer(x, measure=1e-6 * measure), layer(x, measure=measure)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x, measure=1e-6 * measure)
    torch.testing.assert_close(small, large, atol=1e-5, rtol=1e-5)
    assert (low.float() - large).norm() / large.norm() < 0.02


@pytest.mark.parametrize("use_mask", [False, True])
def test_export_of_the_dense_form(use_mask):
    layer = make(LRSABlock)
    x, mask = padded(packed([5, 9, 0])[0], [5, 9, 0])
    measure = torch.rand(3, 9, dtype=torch.float64) + 0.1
    arguments = {"measure": measure} | ({"mask": mask} if use_mask else {})
    program = torch.export.export(layer, (x,), arguments)
    torch.testing.assert_close(program.module()(x, **arguments), layer(x, **arguments))
    other = {"measure": measure} | ({"mask": mask.flip(0)} if use_mask else {})
    torch.testing.assert_close(program.module()(x.flip(0), **other), layer(x.flip(0), **other))


def test_compile_of_both_forms():
    layer = make(LRSABlock)
    compiled = torch.compile(layer)
    x, batch, measure = packed([20, 33])
    torch.testing.assert_close(
        compiled(x, batch, measure=measure), layer(x, batch, measure=measure)
    )
    dense, mask = padded(x, [20, 33])
    torch.testing.assert_close(compiled(dense, mask=mask), layer(dense, mask=mask))


def test_in_a_pyg_sequential_with_a_layout_built_once():
    torch.manual_seed(0)
    x, batch, _ = packed([7, 4], torch.float32)
    model = Sequential("x, batch", [(LRSABlock(24, 3, 8), "x, batch -> x") for _ in range(2)])
    torch.testing.assert_close(model(x, NodeLayout.of(x, batch)), model(x, batch))


def test_deepcopy_and_safetensors(tmp_path):
    layer = make(LRSABlock)
    x, batch, _ = packed([7, 4])
    torch.testing.assert_close(copy.deepcopy(layer)(x, batch), layer(x, batch))
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other = LRSABlock(24, 3, 8).double()
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    torch.testing.assert_close(other(x, batch), layer(x, batch))


def test_reset_parameters_draws_again_and_latents_start_distinct():
    torch.manual_seed(0)
    layer = LRSABlock(64, 4, 32)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    for parameter in layer.parameters():
        parameter.data.fill_(3.0)
    torch.manual_seed(0)
    layer.reset_parameters()
    for name, value in layer.state_dict().items():
        assert value.shape == before[name].shape
        expected = pytest.approx(float(before[name].std()), rel=0.3, abs=1e-6)
        assert float(value.std()) == expected, name
    assert 0.9 < layer.mixer.latents.std() < 1.1


def test_number_of_parameters_is_that_of_the_design():
    channels, latents = 64, 32
    weights = sum(p.numel() for p in LRSABlock(channels, 8, latents).parameters() if p.dim() > 1)
    assert weights == 23 * channels**2 + latents * channels


def test_repr():
    assert repr(LRSA(64)) == "LRSA(64, heads=8, num_latents=64, latent_depth=1)"


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor that any operation made, and the rows of matrix products."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, Tensor):
                # A view of a broadcast tensor occupies no memory of its own.
                self.elements = max(self.elements, value.untyped_storage().nbytes() // 8)
        return out


@pytest.mark.parametrize("weighted", [False, True])
def test_no_matrix_of_nodes_by_latents(weighted):
    sizes = [700, 1300, 2000]
    layer = make(num_latents=512)
    x, batch, measure = packed(sizes)
    x.requires_grad_()
    with LargestTensor() as seen:
        layer(x, batch, measure=measure if weighted else None).sum().backward()
    assert seen.elements < max(sizes) * 512


def test_pointwise_work_never_touches_padding():
    layer = make(LRSABlock)
    rows: list[int] = []
    for module in layer.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _m, args, _y: rows.append(args[0].shape[0]))
    sizes = [3, 50, 400]
    x, mask = padded(packed(sizes)[0], sizes)
    layer(x, mask=mask)
    assert set(rows) == {sum(sizes), len(sizes)}  # nodes, and graphs in the latents' layers


BAD_CALLS = [
    ({"x": (10, 23)}, r"`x` has shape \[10, 23\], expected 24 channels"),
    ({"x": (24,)}, r"`x` has shape \[24\], expected \[nodes, channels\]"),
    ({"x": (10, 24), "batch": torch.zeros(9).long()}, r"`batch` has shape \[9\].*expected \[10\]"),
    ({"x": (10, 24), "batch": torch.zeros(10)}, r"`batch`.*float32.*integers"),
    ({"x": (10, 24), "batch": torch.arange(10) - 1}, r"`batch` holds -1"),
    ({"x": (10, 24), "mask": torch.ones(10).bool()}, r"`mask` goes with dense `x`.*\[10, 24\]"),
    ({"x": (2, 5, 24), "mask": torch.ones(2, 4).bool()}, r"`mask` has shape \[2, 4\].*\[2, 5\]"),
    ({"x": (2, 5, 24), "mask": torch.ones(2, 5)}, r"`mask`.*float32.*bool"),
    (
        {"x": (2, 5, 24), "mask": torch.ones(2, 5).bool(), "batch": torch.zeros(10).long()},
        r"`batch` \(and `mask` as well\)",
    ),
    ({"x": (10, 24), "measure": torch.ones(9)}, r"`measure` has shape \[9\].*expected \[10\]"),
    ({"x": (2, 5, 24), "measure": torch.ones(10)}, r"`measure` has shape \[10\].*\[2, 5\]"),
    ({"x": (10, 24), "measure": torch.ones(10).long()}, r"`measure`.*int64.*floating"),
    ({"x": (3, 24), "measure": torch.tensor([1, torch.nan, 1])}, r"`measure` holds nan at node 1"),
    ({"x": (3, 24), "measure": torch.tensor([1, 1, torch.inf])}, r"`measure` holds inf at node 2"),
    ({"x": (3, 24), "measure": torch.tensor([-1.0, 1, 1])}, r"`measure` holds -1.0 at node 0"),
]


@pytest.mark.parametrize(("call", "message"), BAD_CALLS)
@pytest.mark.parametrize("kind", [LRSA, LRSABlock])
def test_bad_input_is_named(kind, call, message):
    arguments = dict(call)
    x = torch.zeros(arguments.pop("x"))
    with pytest.raises(ValueError, match=message):
        make(kind, torch.float32)(x, arguments.pop("batch", None), **arguments)


def test_a_layout_of_another_batch_is_refused():
    layout = NodeLayout.of(torch.zeros(10, 24))
    with pytest.raises(ValueError, match=r"`x` has shape \[9, 24\].*expects \[10, 'channels'\]"):
        make(dtype=torch.float32)(torch.zeros(9, 24), layout)
    with pytest.raises(ValueError, match="which has `mask` and `measure` in it"):
        make(dtype=torch.float32)(torch.zeros(10, 24), layout, measure=torch.ones(10))


@pytest.mark.parametrize("sizes", [{"channels": 10, "heads": 3}, {"channels": 8, "num_latents": 0}])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="expected"):
        LRSA(**sizes)


def test_at_the_start_sharpness_decides_how_many_nodes_a_latent_looks_at():
    x = torch.randn(500, 64)

    def heard(sharpness: float) -> float:
        torch.manual_seed(1)
        layer = LRSA(64, heads=4, num_latents=16, sharpness=sharpness)
        queries, keys, _ = layer._queries_keys_values(layer.prepare(x))
        weights = torch.einsum("mhd,nhd->mhn", queries, keys).mul(16**-0.5).softmax(-1)
        return float(weights.detach().square().sum(-1).reciprocal().mean())

    counts = [heard(sharpness) for sharpness in (0.0, 1.0, 2.0, 4.0)]
    assert counts[0] == pytest.approx(500, rel=1e-3)
    assert counts == sorted(counts, reverse=True)
    assert counts[2] < 0.2 * counts[0]


def test_an_aligned_start_is_the_one_that_is_said():
    torch.manual_seed(0)
    layer = LRSA(24, 3, 8, latent_depth=0, aligned_start=True)
    x = torch.randn(30, 24)
    of_keys, of_values = layer.to_keys_values.weight.chunk(2)
    torch.testing.assert_close(layer.to_queries.weight, of_keys)
    torch.testing.assert_close(layer.to_latent_keys_values.weight[:24], of_keys)
    torch.testing.assert_close(layer.compress_out.weight @ of_values, torch.eye(24))
    assert float(of_values.std()) == pytest.approx(float(of_keys.std()), rel=0.2)
    layer.latent_norm.gain.data.zero_()  # all latents hear all nodes alike
    z = layer.compress(layer.prepare(x), NodeLayout.of(x))[0]
    torch.testing.assert_close(z, x.mean(0).expand(8, -1), atol=1e-5, rtol=1e-5)


def test_with_an_aligned_start_nodes_read_the_latents_that_hear_of_them():
    """Two kinds of nodes: how much of what a node reads comes from its own kind."""
    torch.manual_seed(0)
    kinds = torch.randn(2, 24, dtype=torch.float64).repeat_interleave(20, 0)
    x = kinds + 0.3 * torch.randn_like(kinds)
    own = torch.arange(40) < 20

    def from_its_own(aligned: bool) -> float:
        shares = []
        for seed in range(8):
            torch.manual_seed(seed)
            layer = LRSA(24, 3, 8, latent_depth=0, aligned_start=aligned).double()
            nodes = layer.prepare(x)
            queries, keys, _ = layer._queries_keys_values(nodes)
            heard = torch.einsum("mhd,nhd->hmn", queries, keys).mul(8**-0.5).softmax(-1)
            z = layer.compress(nodes, NodeLayout.of(x))[0]
            of_z = layer.to_latent_keys_values(layer.processed_norm(z)).chunk(2, dim=1)[0]
            of_z = layer.latent_key_norm(of_z.unflatten(1, (3, 8)))
            read = torch.einsum("nhd,mhd->hnm", nodes.queries, of_z).mul(8**-0.5).softmax(-1)
            mixing = (read @ heard).detach().mean(0)
            shares.append(float(mixing[own][:, own].sum() / own.sum()))
        return float(np.mean(shares))

    assert from_its_own(False) == pytest.approx(0.5, abs=0.05)
    assert from_its_own(True) > 0.6


@pytest.mark.parametrize("depth", [1, 2])
def test_latent_blocks_start_with_the_share_that_they_are_given(depth):
    z = torch.randn(2, 8, 24)
    added = []
    for share in (0.0, 0.1, 0.2):
        torch.manual_seed(1)
        layer = LRSA(24, 3, 8, latent_depth=depth, latent_start=share).double()
        added.append(layer.process(z.double()) - z)
    assert torch.count_nonzero(added[0]) == 0
    # To first order in the share; the later steps read what the earlier ones added.
    tolerance = 0.2 * float(added[2].detach().norm())
    torch.testing.assert_close(added[2], 2 * added[1], atol=tolerance, rtol=0)


def test_without_latent_attention_the_latents_do_not_see_each_other():
    torch.manual_seed(0)
    z = torch.randn(1, 8, 24, dtype=torch.float64, requires_grad=True)
    for attention in (True, False):
        layer = LRSA(24, 3, 8, latent_attention=attention).double()
        (grad,) = torch.autograd.grad(layer.process(z)[0, 3].sum(), z)
        others = torch.arange(8) != 3
        assert bool(grad[0, others].abs().max() > 0) == attention

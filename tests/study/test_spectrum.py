"""Singular values: known ones of Green's functions, dense against matrix-free, sums of squares."""

from __future__ import annotations

import doctest
import importlib
import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore
from lrsa_geo.mesh import Field
from lrsa_geo.nn import LRSA, MIXERS, LinearAttention, LowRankMixer, NodeLayout
from lrsa_geo.simulate.darcy import DarcyRecipe
from lrsa_geo.study import (
    Mixing,
    Spectrum,
    effective_rank,
    empirical_kernel,
    fit_kernel,
    green_spectra,
    helmholtz,
    midpoints,
    mixing_spectra,
    poisson,
    transport,
)
from lrsa_geo.train import ModelConfig, Surrogate

LOW_RANK = [name for name, mixer in MIXERS.items() if issubclass(mixer, LowRankMixer)]
X = midpoints(800)
MEASURE = np.full(800, 1 / 800)


@pytest.mark.parametrize("module", ["line", "mixing", "spectrum"])
def test_examples_run(module):
    found = doctest.testmod(importlib.import_module(f"lrsa_geo.study.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def of(kernel: np.ndarray) -> np.ndarray:
    return Spectrum.of_kernel("", kernel, MEASURE).values


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.floats(0.05, 1))
def test_the_effective_rank_is_the_least_that_holds_its_share(values, share):
    ordered = np.sort(values)[::-1]
    rank = effective_rank(np.array(values), share)
    total = np.linalg.norm(ordered)
    assert np.linalg.norm(ordered[:rank]) >= share * total * (1 - 1e-9)
    assert np.linalg.norm(ordered[: rank - 1]) < share * total
    # The rest says the same as the values that it stands for, where enough of them are known.
    known = effective_rank(ordered[:rank], share, float(np.square(ordered[rank:]).sum()))
    assert known == rank
    if rank > 1:
        rest = float(np.square(ordered[rank - 1 :]).sum())
        assert effective_rank(ordered[: rank - 1], share, rest) is None


def test_all_of_an_identity_is_needed_and_nothing_of_zero():
    assert effective_rank(np.ones(100), 0.9) == 81  # of the norm, not of its square
    assert effective_rank(np.zeros(3), 0.9) == 0
    with pytest.raises(ValueError, match="`share` is 0"):
        effective_rank(np.ones(2), 0)


def test_poisson_has_its_known_singular_values():
    k = np.arange(1, 21)
    np.testing.assert_allclose(of(poisson(X))[:20], 1 / (k * np.pi) ** 2, rtol=1e-3)


@pytest.mark.parametrize("wavenumber", [3.5 * np.pi, 20.5 * np.pi, 1.0])
def test_helmholtz_has_its_known_singular_values(wavenumber):
    known = 1 / np.abs((np.arange(1, 200) * np.pi) ** 2 - wavenumber**2)
    np.testing.assert_allclose(
        of(helmholtz(X, wavenumber))[:12], np.sort(known)[::-1][:12], rtol=3e-3
    )


def test_helmholtz_without_waves_is_poisson():
    np.testing.assert_allclose(helmholtz(X, 1e-3), poisson(X), atol=1e-6)
    with pytest.raises(ValueError, match="resonate"):
        helmholtz(X, 3 * np.pi)


@pytest.mark.parametrize("diffusion", [0.02, 0.3, 10.0])
def test_transport_solves_its_equation(diffusion):
    """For f = 1 the solution is x minus the boundary layer."""
    layer = np.exp((X - 1) / diffusion) - np.exp(-1 / diffusion)
    solution = X - layer / (1 - np.exp(-1 / diffusion))
    found = transport(X, diffusion) @ MEASURE
    np.testing.assert_allclose(found, solution, atol=2e-4 * np.abs(solution).max())


def test_transport_lies_between_poisson_and_a_step():
    much, little = of(transport(X, 1e3) * 1e3), of(transport(X, 1e-4))
    k = np.arange(1, 11)
    np.testing.assert_allclose(much[:10], 1 / (k * np.pi) ** 2, rtol=1e-3)
    np.testing.assert_allclose(little[:10], 1 / ((k - 0.5) * np.pi), rtol=2e-2)
    with pytest.raises(ValueError, match="`diffusion` is 0"):
        transport(X, 0)


def test_the_frobenius_norm_is_that_of_the_kernel():
    """The sum of 1 / (k pi)^4 is 1/90, the integral of the squared kernel."""
    spectrum = Spectrum.of_kernel("", poisson(X), MEASURE)
    assert spectrum.norm**2 == pytest.approx(1 / 90, rel=1e-3)
    uneven = np.random.default_rng(0).dirichlet(np.ones(40))
    values = Spectrum.of_kernel("", np.ones((40, 40)), uneven).values
    np.testing.assert_allclose(values, [1] + [0] * 39, atol=1e-12)  # the mean, on any mesh


def test_green_spectra_are_resolved_or_refused():
    poisson_, transport_, helmholtz_ = green_spectra(400, 0.02, 20)
    assert poisson_.rank(0.99) == 2
    assert poisson_.rank(0.99) < transport_.rank(0.99) < helmholtz_.rank(0.99)
    with pytest.raises(ValueError, match="`nodes` is 50, expected at least 80"):
        green_spectra(50, 0.1, 20)


@pytest.fixture(scope="module")
def darcy(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    recipe = DarcyRecipe(resolution=21, every=2)
    path = tmp_path_factory.mktemp("darcy") / "darcy.h5"
    return MeshStore.write(path, [recipe.sample(i) for i in range(24)], recipe.fields)


def mixer_of(name: str) -> torch.nn.Module:
    sizes = {"channels": 8, "heads": 2, "num_latents": 3}
    known = inspect.signature(MIXERS[name]).parameters
    torch.manual_seed(0)
    return MIXERS[name](**{key: value for key, value in sizes.items() if key in known}).double()


def nodes(measured: bool, count: int = 12) -> tuple[torch.Tensor, NodeLayout]:
    torch.manual_seed(1)
    rows = torch.randn(count, 8, dtype=torch.float64)
    measure = torch.rand(count) + 0.1 if measured else None
    return rows, NodeLayout.of(rows, measure=measure)


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", LOW_RANK)
def test_products_without_a_matrix_are_those_with_it(name, measured):
    """The matrix by PyTorch, as the product of three derivatives: U G V^T."""
    mixer, (rows, layout) = mixer_of(name), nodes(measured)
    held = mixer.prepare(rows)
    z = mixer.compress(held, layout).detach()
    parts = [
        (lambda x: mixer.compress(mixer.prepare(x), layout), rows),
        (mixer.process, z),
        (lambda y: mixer.reconstruct(held, y, layout), mixer.process(z).detach()),
    ]
    v, g, u = (
        torch.autograd.functional.jacobian(function, at).reshape(-1, at.numel())
        for function, at in parts
    )
    root = torch.ones(12) if layout.measure is None else layout.measure
    root = root.double().sqrt()[:, None].expand_as(rows).flatten()
    expected = (root[:, None] * (u @ g @ v) / root).numpy()

    mixing = Mixing(mixer, rows, layout)
    identity = np.eye(96)
    np.testing.assert_allclose(mixing @ identity, expected, atol=1e-10)
    np.testing.assert_allclose(mixing.H @ identity, expected.T, atol=1e-10)
    values = np.linalg.svd(expected, compute_uv=False)
    spectrum = mixing.spectrum(10)
    np.testing.assert_allclose(spectrum.values, values[:10], atol=1e-6 * values[0])
    exact = np.square(values[10:]).sum()
    assert spectrum.rest == pytest.approx(exact, rel=1.0, abs=1e-12)  # an estimate
    assert mixing.spectrum(96).norm == pytest.approx(np.linalg.norm(expected))
    assert np.linalg.matrix_rank(expected) <= spectrum.limit <= 96


def test_full_attention_is_taken_whole():
    mixer, (rows, layout) = mixer_of("full"), nodes(False)
    whole = torch.autograd.functional.jacobian(lambda x: mixer(x, layout), rows)
    expected = whole.reshape(96, 96).numpy()
    mixing = Mixing(mixer, rows, layout)
    np.testing.assert_allclose(mixing @ np.eye(96), expected, atol=1e-10)
    assert mixing.spectrum(3).limit == 96


def test_linear_attention_mixes_by_queries_and_keys():
    """Where keys do not depend on the nodes, K = (1/N) O Q K^T v' per head, written out."""
    mixer, (rows, layout) = mixer_of("linear"), nodes(False)
    assert isinstance(mixer, LinearAttention)
    with torch.no_grad():
        mixer.to_qkv.weight[8:16] = 0
        mixer.to_qkv.bias[8:16] = torch.randn(8, dtype=torch.float64)
    q, k, values = mixer.prepare(rows)
    width = 4
    of_values = mixer.to_qkv.weight[16:].unflatten(0, (2, width))
    raw = (rows @ mixer.to_qkv.weight[16:].T + mixer.to_qkv.bias[16:]).unflatten(1, (2, width))
    expected = torch.zeros(12, 8, 12, 8, dtype=torch.float64)
    for head in range(2):
        mixed = q[:, head] @ k[:, head].T / len(rows)  # [N, N]
        out = mixer.reconstruct_out.weight[:, head * width : (head + 1) * width]
        for j in range(len(rows)):
            centred = raw[j, head] - raw[j, head].mean()
            scale = (centred.square().mean() + 1e-5) ** -0.5
            y = centred * scale
            eye = torch.eye(width, dtype=torch.float64)
            norm = scale * (eye - 1 / width - torch.outer(y, y) / width)
            expected[:, :, j] += mixed[:, j, None, None] * (out @ norm @ of_values[head])
    dense = Mixing(mixer, rows, layout) @ np.eye(96)
    np.testing.assert_allclose(dense, expected.reshape(96, 96).detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(values[0, 0].mean().item(), 0, atol=1e-12)


def test_lrsa_without_sharpness_mixes_means():
    """Keys that are 0 attend to all nodes alike: every node sees the mean, rank C at most."""
    mixer, (rows, layout) = LRSA(8, heads=2, num_latents=3, latent_depth=0).double(), nodes(False)
    with torch.no_grad():
        mixer.to_keys_values.weight[:8] = 0
    dense = (Mixing(mixer, rows, layout) @ np.eye(96)).reshape(12, 8, 12, 8)
    np.testing.assert_allclose(dense, dense[:, :, :1].repeat(12, 2), atol=1e-12)
    assert np.linalg.matrix_rank(dense.reshape(96, 96)) <= 8


def test_the_order_of_nodes_does_not_matter():
    mixer, (rows, _) = mixer_of("lrsa"), nodes(False)
    order = np.random.default_rng(0).permutation(12)
    measure = torch.linspace(0.1, 1, 12)
    first = Mixing(mixer, rows, NodeLayout.of(rows, measure=measure)).spectrum(8)
    moved = rows[order]
    second = Mixing(mixer, moved, NodeLayout.of(moved, measure=measure[order])).spectrum(8)
    np.testing.assert_allclose(first.values, second.values, rtol=1e-6)  # measures are float32


def test_a_node_in_two_halves_changes_no_singular_value():
    mixer, (rows, _) = mixer_of("lrsa"), nodes(False)
    one = Mixing(mixer, rows, NodeLayout.of(rows, measure=torch.ones(12))).spectrum(8)
    split = torch.cat([rows, rows[:1]])
    weights = torch.ones(13)
    weights[[0, -1]] = 0.5
    both = Mixing(mixer, split, NodeLayout.of(split, measure=weights)).spectrum(8)
    np.testing.assert_allclose(one.values, both.values, rtol=1e-6)


def test_passive_nodes_are_left_out():
    mixer, (rows, layout) = mixer_of("lrsa"), nodes(False)
    more = torch.cat([rows, torch.randn(4, 8, dtype=torch.float64)])
    measure = torch.tensor([1.0] * 12 + [0.0] * 4)
    with_passive = Mixing(mixer, more, NodeLayout.of(more, measure=measure)).spectrum(8)
    np.testing.assert_allclose(
        with_passive.values, Mixing(mixer, rows, layout).spectrum(8).values, rtol=1e-8
    )


@pytest.mark.parametrize("options", [{}, {"local": "MeshConv", "depth": 1}])
def test_every_block_of_a_model_has_a_spectrum(darcy: MeshStore, options):
    config = ModelConfig(**{"channels": 8, "depth": 2, "heads": 2, "num_latents": 3, **options})
    surrogate = Surrogate.for_training(config, darcy, range(4))
    spectra = mixing_spectra(surrogate, darcy[0], count=4)
    assert [s.name for s in spectra] == ["block 1", "block 2"][: config.depth]
    assert all(s.limit == 24 and (np.diff(s.values) <= 0).all() for s in spectra)
    again = mixing_spectra(surrogate, darcy[0], count=4)
    np.testing.assert_array_equal(spectra[0].values, again[0].values)


def test_a_model_without_mixer_is_refused(darcy: MeshStore):
    config = ModelConfig(channels=8, depth=1, mixer="none", local="MeshConv")
    surrogate = Surrogate.for_training(config, darcy, range(4))
    with pytest.raises(ValueError, match="the model has no mixer"):
        mixing_spectra(surrogate, darcy[0])


def test_a_linear_operator_is_found_again():
    """With more graphs than entries nothing is unknown: K has its singular values, no error."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((9, 9)))[0] for _ in range(2))
    sigma = 2.0 ** -np.arange(9)
    kernel = left * sigma @ right.T
    inputs = rng.standard_normal((200, 9)) + 3
    fit = fit_kernel(inputs, inputs @ kernel.T - 1)
    np.testing.assert_allclose(fit.kernel.values[:9], sigma, rtol=1e-5)
    assert fit.error < 1e-6
    assert fit.kernel.limit == 199


def test_the_error_is_that_of_graphs_left_out():
    rng = np.random.default_rng(1)
    inputs, outputs = rng.standard_normal((12, 5)), rng.standard_normal((12, 3))
    fit = fit_kernel(inputs, outputs)
    ridge = fit.ridge * np.linalg.norm(inputs - inputs.mean(0), 2) ** 2
    missed, mean = 0.0, 0.0
    for left_out in range(12):
        rest = np.arange(12) != left_out
        # The mean of all 12 is subtracted with weight: an unpenalised constant does the same.
        a = np.c_[inputs[rest] - inputs[rest].mean(0)]
        y = outputs[rest] - outputs[rest].mean(0)
        k = np.linalg.solve(a.T @ a + ridge * np.eye(5), a.T @ y)
        guess = outputs[rest].mean(0) + (inputs[left_out] - inputs[rest].mean(0)) @ k
        missed += np.square(guess - outputs[left_out]).sum()
        mean += np.square(outputs[rest].mean(0) - outputs[left_out]).sum()
    assert fit.error == pytest.approx(math.sqrt(missed / mean), rel=1e-8)
    assert fit.error > 0.8  # there is nothing to learn


def test_darcy_has_an_empirical_kernel(darcy: MeshStore):
    fit = empirical_kernel(darcy)
    assert fit.error < 1
    assert fit.kernel.rank(0.99) <= fit.kernel.limit == 23
    assert fit.targets.norm > 0
    assert empirical_kernel(darcy, 20).kernel.limit == 19
    with pytest.raises(ValueError, match="2 inputs and 2 outputs, expected the same, 3 or more"):
        empirical_kernel(darcy, 2)


def written(path: Path, graphs: list[Data]) -> MeshStore:
    fields = {array: (Field(array),) for array in ("x", "y") if array in graphs[0]}
    return MeshStore.write(path, graphs, fields)


@pytest.mark.parametrize("sizes", [(5, 5, 5), (5, 5, 4)])
def test_meshes_of_their_own_are_refused_by_name(tmp_path: Path, sizes):
    graphs = [Data(pos=torch.zeros(n, 2), x=torch.ones(n, 1), y=torch.ones(n, 1)) for n in sizes]
    graphs[-1].pos = graphs[-1].pos + 1
    with pytest.raises(ValueError, match="graph 2 has another mesh than graph 0"):
        empirical_kernel(written(tmp_path / "own.h5", graphs))


def test_graphs_without_inputs_are_refused_by_name(tmp_path: Path):
    graphs = [Data(pos=torch.zeros(5, 2), y=torch.ones(5, 1))] * 3
    with pytest.raises(ValueError, match=r"own.h5: the graphs have no `x`"):
        empirical_kernel(written(tmp_path / "own.h5", graphs))


def test_unknown_values_are_refused_by_name(tmp_path: Path):
    graphs = [
        Data(pos=torch.zeros(5, 2), x=torch.rand(5, 1), y=torch.full((5, 1), torch.nan))
        for _ in range(3)
    ]
    with pytest.raises(ValueError, match=r"own.h5: some of `y` are not numbers"):
        empirical_kernel(written(tmp_path / "own.h5", graphs))

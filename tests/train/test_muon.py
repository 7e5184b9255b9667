"""Muon: orthogonal updates of matrices, AdamW as PyTorch has it for the rest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.nn import MIXERS, GeometryOperator, SpectralMixer
from lrsa_geo.nn.pointwise import FeedForward, Linear
from lrsa_geo.train.muon import Muon, orthogonalized


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 20),
    extra=st.integers(0, 20),
    scale=st.floats(1e-6, 1e6),
    seed=st.integers(0, 99),
)
def test_singular_values_become_about_one_and_singular_vectors_stay(rows, extra, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(rows, rows, generator=generator))[0]
    v = torch.linalg.qr(torch.randn(rows + extra, rows, generator=generator))[0]
    singular = 0.1 + 0.9 * torch.rand(rows, generator=generator)
    found = orthogonalized((scale * u * singular @ v.T)[None])[0]
    inner = u.T @ found @ v
    assert ((inner.diag() > 0.6) & (inner.diag() < 1.25)).all()
    torch.testing.assert_close(inner, inner.diag().diag(), atol=1e-3, rtol=0)


def test_zero_gradients_move_nothing():
    w = torch.nn.Parameter(torch.eye(3))
    w.grad = torch.zeros(3, 3)
    Muon([w], [], 0.1, weight_decay=0).step()
    assert torch.equal(w, torch.eye(3))


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (16, 4)])
def test_an_update_is_as_large_as_one_of_adamw(shape):
    """Root mean square 0.2 lr, whatever the shape of the matrix and the size of the gradient."""
    w = torch.nn.Parameter(torch.zeros(shape))
    w.grad = 1e4 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    Muon([w], [], 0.1, weight_decay=0).step()
    assert float(w.square().mean().sqrt()) == pytest.approx(0.02, rel=0.2)
    assert float((w * w.grad).sum()) < 0  # downhill


def test_other_parameters_follow_adamw():
    start = torch.randn(5, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    muon = Muon([], [ours], 0.01, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], 0.01, weight_decay=0.1)
    for step in range(20):
        for p, optimizer in ((ours, muon), (theirs, adamw)):
            optimizer.zero_grad()
            (p.square().sum() * (1 + step % 3)).backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_the_state_of_an_older_version_goes_on():
    start = torch.randn(5, generator=torch.Generator().manual_seed(0))
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    whole, broken = (Muon([], [w], 0.01) for w in weights)
    for step in range(6):
        if step == 3:
            state = broken.state_dict()
            of_first = state["state"][0]
            of_first["steps"] = int(of_first.pop("step"))
            broken = Muon([], [weights[1]], 0.01)
            broken.load_state_dict(state)
        for w, optimizer in zip(weights, (whole, broken), strict=True):
            w.grad = w.detach() * (1 + step)
            optimizer.step()
    assert torch.equal(*weights)


def test_matrices_of_one_shape_do_not_mix_and_a_saved_state_goes_on():
    def steps(optimizer, weights, count):
        for _ in range(count):
            for number, w in enumerate(weights):
                w.grad = torch.full_like(w, 1.0).tril() * (number + 1) + w.detach()
            optimizer.step()

    def weights():
        return [torch.nn.Parameter(torch.eye(4) * i) for i in (1, 2)]

    together, alone = weights(), weights()
    whole = Muon(together, [], 0.1)
    steps(whole, together, 6)
    for w, number in zip(alone, (1, 2), strict=True):
        single = Muon([w], [], 0.1)
        for _ in range(6):
            w.grad = torch.full_like(w, 1.0).tril() * number + w.detach()
            single.step()
    torch.testing.assert_close(together, alone)

    broken = weights()
    first = Muon(broken, [], 0.1)
    steps(first, broken, 3)
    second = Muon(broken, [], 0.1)
    second.load_state_dict(first.state_dict())
    steps(second, broken, 3)
    assert all(torch.equal(a, b) for a, b in zip(broken, together, strict=True))


def test_matrices_that_are_stacked_are_orthogonalised_each_on_its_own():
    """However much larger one's gradient is: it would leave nothing of the update to the others."""
    generator = torch.Generator().manual_seed(0)
    gradients = [
        1e4 * torch.randn(6, 6, generator=generator),
        torch.randn(6, 6, generator=generator),
    ]
    alone = [torch.nn.Parameter(torch.eye(6)) for _ in gradients]
    stacked = torch.nn.Parameter(torch.cat([torch.eye(6)] * 2))
    apart, together = Muon(alone, [], 0.1), Muon([stacked], [], 0.1, parts={stacked: 2})
    for _ in range(3):
        for w, gradient in zip(alone, gradients, strict=True):
            w.grad = gradient
        stacked.grad = torch.cat(gradients)
        apart.step()
        together.step()
    torch.testing.assert_close(stacked, torch.cat(alone))


ON_MESHES = [name for name, mixer in MIXERS.items() if mixer is not SpectralMixer]


@pytest.mark.parametrize("name", [*ON_MESHES, "MeshConv"])
def test_layers_say_what_they_stack(name):
    """So that the keys of one mixer learn as fast as those of another."""
    sizes = {"channels": 12, "heads": 3, "num_latents": 5, "depth": 1}
    local = {"local": "MeshConv"} if name == "MeshConv" else {"mixer": name}
    model = GeometryOperator(2, 1, 2, **sizes, **local)
    layers = [m for m in model.blocks.modules() if isinstance(m, Linear)]
    hidden = [m.hidden for m in model.blocks.modules() if isinstance(m, FeedForward)]
    of_features = [m for m in layers if m.in_features >= 4 and m not in hidden]
    assert of_features
    for layer in of_features:
        whole, rest = divmod(layer.out_features, layer.in_features)
        assert layer.parts == (1 if rest else whole)

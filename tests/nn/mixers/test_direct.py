"""LRSA whose nodes read the latents themselves; the contract is in test_contract.py."""

import pytest
import torch

from lrsa_geo.nn import DirectLRSA, DirectSymmetricLRSA


def test_an_aligned_start_has_the_same_logits_there_and_back():
    """It is then the symmetric variant."""
    torch.manual_seed(0)
    layer = DirectLRSA(24, 3, 8, latent_depth=1)
    tied = DirectSymmetricLRSA(24, 3, 8, latent_depth=1)
    assert tied.load_state_dict(layer.state_dict(), strict=False).missing_keys == []
    x = torch.randn(30, 24)
    torch.testing.assert_close(layer(x), tied(x))


def in_use(kind):
    """A layer without latent blocks, whose weights differ from their start; and nodes."""
    torch.manual_seed(0)
    layer = kind(24, 3, 8, latent_depth=0).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        layer.reconstruct_out.bias.zero_()
    return layer, torch.randn(30, 24, dtype=torch.float64)


def with_values(layer, x, weight):
    """What the layer gives with other weights of v."""
    with torch.no_grad():
        layer.to_keys_values.weight.chunk(2)[1].copy_(weight)
    return layer(x).detach()


@pytest.mark.parametrize("kind", [DirectLRSA, DirectSymmetricLRSA])
def test_twice_the_values_give_twice_the_result(kind):
    layer, x = in_use(kind)
    v = torch.randn(24, 24, dtype=torch.float64)
    once, twice = (with_values(layer, x, factor * v) for factor in (1, 2))
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=1e-5)  # Norm(Z) has 1e-6 in it


def test_the_symmetric_one_is_linear_in_the_values():
    """y = O_2 U V^T v(x); in the other U depends on what the latents gathered."""
    layer, x = in_use(DirectSymmetricLRSA)
    one, other = torch.randn(2, 24, 24, dtype=torch.float64)
    of_sum = with_values(layer, x, one + other)
    torch.testing.assert_close(
        of_sum, with_values(layer, x, one) + with_values(layer, x, other), atol=1e-12, rtol=1e-10
    )

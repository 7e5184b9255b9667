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


@pytest.mark.parametrize("kind", [DirectLRSA, DirectSymmetricLRSA])
def test_direct_values_are_means_of_the_nodes_values(kind):
    """Without latent blocks y = O_2 U V^T v(x): twice as large where the values are."""
    torch.manual_seed(0)
    layer = kind(24, 3, 8, latent_depth=0).double()
    x = torch.randn(30, 24, dtype=torch.float64)
    y = layer(x)
    with torch.no_grad():
        layer.to_keys_values.weight.chunk(2)[1].mul_(2)
    torch.testing.assert_close(layer(x), 2 * y, atol=1e-5, rtol=1e-5)  # 1e-6 in Norm(Z)

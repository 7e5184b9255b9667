"""Spacing of nodes and the waves they carry: grids, nodes that are there twice."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrsa_geo.data import MeshStore, node_spacing, octaves_for, spacing_of
from lrsa_geo.nn import FourierEncoding


def grid(*axes: torch.Tensor) -> torch.Tensor:
    return torch.cartesian_prod(*axes).double()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_of_a_grid_it_is_the_grids(dim):
    pos = grid(*[torch.arange(9) * 0.25] * dim).view(-1, dim)
    assert node_spacing(pos) == pytest.approx(0.25)
    assert node_spacing(torch.cat([pos, pos])) == pytest.approx(0.25)


@pytest.mark.parametrize("pos", [torch.zeros(0, 2), torch.zeros(1, 2), torch.zeros(5, 2)])
def test_without_two_places_there_is_none(pos):
    assert node_spacing(pos) == 0
    assert octaves_for(node_spacing(pos)) == 1


@given(st.floats(1e-4, 10))
def test_waves_are_longer_than_two_spacings_and_one_more_would_not_be(spacing):
    octaves = octaves_for(spacing, most=20)
    lengths = 2 * math.pi / FourierEncoding(1, octaves + 1).frequencies.double()
    assert octaves == 1 or lengths[octaves - 1] > 2 * spacing * (1 - 1e-6)
    assert lengths[octaves] <= 2 * spacing * (1 + 1e-6)


def test_the_waves_that_are_kept_do_not_alias():
    """Two of them that differ are told apart on the nodes; with two octaves more they are not."""
    nodes = torch.linspace(-1, 1, 17)[:, None]
    octaves = octaves_for(node_spacing(nodes))

    def rank(octaves: int) -> int:
        return int(torch.linalg.matrix_rank(FourierEncoding(1, octaves)(nodes.double()), rtol=1e-6))

    assert rank(octaves) == 1 + 2 * octaves
    assert rank(octaves + 2) < 1 + 2 * (octaves + 2)


def test_of_a_store_it_is_the_median_over_its_graphs(cells: MeshStore):
    each = sorted(node_spacing(cells[number].pos) for number in range(5))
    assert spacing_of(cells, range(5)) == pytest.approx(each[2])

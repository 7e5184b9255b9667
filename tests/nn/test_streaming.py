"""A streamed model gives what the model gives, whatever the chunks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrsa_geo.nn import MIXERS, GeometryOperator, LowRankMixer, stream

LOW_RANK = [name for name, kind in MIXERS.items() if issubclass(kind, LowRankMixer)]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


def model_of(**changes: object) -> GeometryOperator:
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 3, "heads": 2, "num_latents": 4, "fourier_octaves": 2}
    return GeometryOperator(2, 3, 2, **{"cond_channels": 0, **sizes, **changes})


def case(nodes: int, dtype: torch.dtype = torch.float64, edges: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(nodes)
    return {
        "x": torch.randn(nodes, 2, generator=draw, dtype=dtype),
        "pos": torch.rand(nodes, 2, generator=draw, dtype=dtype),
        "measure": torch.rand(nodes, generator=draw, dtype=dtype) * (torch.arange(nodes) % 5 > 0),
        "edge_index": torch.randint(nodes, (2, edges), generator=draw),
    }


def assert_streams(model: GeometryOperator, given: dict[str, Tensor], chunk: int, **more) -> None:
    dtype = given["pos"].dtype
    model = model.to(dtype)
    with torch.no_grad():
        expected = model(given["x"], given["pos"], **more)
    found = stream(model, given["x"], given["pos"], chunk=chunk, **more)
    scale = expected.abs().max()
    assert (found - expected).abs().max() <= TOLERANCE[dtype] * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mixer", LOW_RANK)
def test_every_mixer_of_low_rank_streams(mixer: str, dtype: torch.dtype) -> None:
    given = case(101, dtype)
    assert_streams(model_of(mixer=mixer), given, 17, measure=given["measure"])


@settings(max_examples=100, deadline=None)
@given(
    nodes=st.integers(1, 60),
    chunk=st.integers(1, 80),
    weighed=st.booleans(),
    conditioned=st.booleans(),
    relative=st.booleans(),
    once=st.booleans(),
)
def test_any_chunks_give_the_same(nodes, chunk, weighed, conditioned, relative, once) -> None:
    given = case(nodes)
    model = model_of(cond_channels=2 * conditioned, relative_positions=relative, compress_once=once)
    more = {"measure": given["measure"]} if weighed else {}
    more |= {"cond": torch.tensor([[0.3, -2.0]], dtype=torch.float64)} if conditioned else {}
    assert_streams(model, given, chunk, **more)


@pytest.mark.parametrize("mixer", LOW_RANK)
def test_nodes_without_any_mass_have_the_same_fields(mixer: str) -> None:
    given = case(23)
    model = model_of(mixer=mixer, relative_positions=True)
    assert_streams(model, given, 5, measure=torch.zeros(23, dtype=torch.float64))


@pytest.mark.parametrize("mixer", ["lrsa", "none"])
@pytest.mark.parametrize("order", ["local-first", "global-first", "parallel"])
@pytest.mark.parametrize("chunk", [1, 13, 100])
def test_message_passing_reads_beyond_a_chunk(mixer: str, order: str, chunk: int) -> None:
    given = case(40, edges=150)
    model = model_of(mixer=mixer, local="MeshConv", order=order, cond_channels=1)
    more = {"edge_index": given["edge_index"], "measure": given["measure"]}
    assert_streams(model, given, chunk, cond=torch.ones(1, 1, dtype=torch.float64), **more)


def test_some_blocks_have_message_passing() -> None:
    given = case(40, edges=150)
    model = model_of(local="MeshConv", local_blocks=[0, -1])
    assert_streams(model, given, 9, edge_index=given["edge_index"])


def test_features_may_lie_in_a_file(tmp_path: Path) -> None:
    given, model = case(50, torch.float32), model_of()

    def mapped(rows: int, channels: int) -> Tensor:
        path = str(tmp_path / "features")
        return torch.from_file(path, shared=True, size=rows * channels).view(rows, channels)

    expected = model(given["x"], given["pos"])
    seen: list[int] = []
    found = stream(model, given["x"], given["pos"], chunk=8, buffer=mapped, progress=seen.append)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    assert sum(seen) == 50 * 3
    assert (tmp_path / "features").stat().st_size == 50 * 16 * 4


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({}, {"chunk": 0}, "`chunk` is 0"),
        ({"mixer": "full"}, {}, "block 0 mixes by FullAttention"),
        ({"mixer": "flare_plus"}, {}, "block 0 mixes by FLAREPlus"),
        ({"local": "SAGEConv"}, {}, "local layer SAGEConv"),
        ({"local": "MeshConv"}, {}, "`edge_index` is None"),
        ({}, {"cond": torch.ones(1, 1)}, "`cond` is of shape"),
        ({"cond_channels": 2}, {}, r"`cond` is None, expected \[1, 2\]"),
        ({}, {"measure": torch.ones(3)}, r"`measure` has shape \[3\]"),
        (
            {},
            {"measure": torch.ones(10).index_fill(0, torch.tensor(7), -1)},
            "-1.0 at node 7 of 10",
        ),
        (
            {"local": "MeshConv"},
            {"edge_index": torch.tensor([[0, -1], [1, 2]])},
            "at nodes -1 to 2",
        ),
        (
            {"local": "MeshConv"},
            {"edge_index": torch.tensor([[0, 10], [1, 2]])},
            "at nodes 0 to 10",
        ),
        (
            {"local": "MeshConv"},
            {"edge_index": torch.tensor([0, 1])},
            r"expected \[2, E\] integers",
        ),
        (
            {},
            {"buffer": lambda n, c: torch.empty(n, c).double()},
            "`buffer` gives .* of torch.float64",
        ),
        ({}, {"buffer": lambda n, c: torch.empty(c, n)}, r"`buffer` gives \[16, 10\]"),
    ],
)
def test_what_cannot_be_streamed_is_refused(changes, more, message) -> None:
    given = case(10, torch.float32)
    with pytest.raises(ValueError, match=message):
        stream(model_of(**changes), given["x"], given["pos"], **{"chunk": 4, **more})
    with pytest.raises(ValueError, match="no node"):
        stream(model_of(), given["x"][:0], given["pos"][:0])

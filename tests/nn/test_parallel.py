"""A mesh of several processes has the fields and gradients that it has in one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor
from torch import distributed as dist

from lrsa_geo.nn import (
    MIXERS,
    FullAttention,
    GeometryOperator,
    LostProcessError,
    LowRankMixer,
    LRSABlock,
    Partition,
    SharedMesh,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes start by fork servers")

LOW_RANK = [name for name, kind in MIXERS.items() if issubclass(kind, LowRankMixer)]
NODES, EDGES = 60, 260
SIZES = {"channels": 8, "depth": 2, "heads": 2, "num_latents": 3, "fourier_octaves": 2}
LOCAL = {"local": "MeshConv"}
CASES: dict[str, dict[str, Any]] = {
    **{f"{name} alone": {"mixer": name} for name in LOW_RANK},
    **{f"{name} and messages": {"mixer": name, **LOCAL, "weighed": True} for name in LOW_RANK},
    **{
        f"{mixer}, {order}": {"mixer": mixer, **LOCAL, "order": order, "cond_channels": 2}
        for mixer in ("lrsa", "none")
        for order in ("local-first", "global-first", "parallel")
    },
    "some local blocks": {**LOCAL, "local_blocks": [0, -1], "depth": 3},
    "one compress": {"compress_once": True, "weighed": True},
    "relative": {"relative_positions": True, **LOCAL},
    "relative, weighed": {"relative_positions": True, **LOCAL, "weighed": True},
    "relative, without mass": {"relative_positions": True, "weighed": "nowhere"},
    "one without mass": {"relative_positions": True, **LOCAL, "weighed": "elsewhere"},
    "linear, one without mass": {"mixer": "linear", "weighed": "elsewhere"},
    "conditioned": {"cond_channels": 2, "weighed": True},
    "float32": {**LOCAL, "weighed": True, "dtype": torch.float32, "cond_channels": 2},
    "wide range of logits": {"mixer_options": {"sharpness": 300.0}},
}

OF_FOUR = [name for name in CASES if "and" in name or "one" in name or "32" in name]


def cases(size: int) -> list[str]:
    """Names of those that a world runs."""
    return OF_FOUR if size == 4 else list(CASES)


def case(nodes: int = NODES, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random edges, some twice; none from a node to itself: its length has no second derivative."""
    draw = torch.Generator().manual_seed(nodes)

    def random(kind: Callable[..., Tensor], *shape: int) -> Tensor:
        return kind(*shape, generator=draw, dtype=torch.float64).to(dtype)

    source, further = (torch.randint(first, nodes, (EDGES,), generator=draw) for first in (0, 1))
    return {
        "x": random(torch.randn, nodes, 2),
        "pos": random(torch.rand, nodes, 2),
        "measure": random(torch.rand, nodes) * (torch.arange(nodes) % 5 > 0),
        "truth": random(torch.randn, nodes, 3),
        "cond": torch.tensor([[0.3, -2.0]], dtype=dtype),
        "edge_index": torch.stack([source, (source + further) % nodes]),
    }


def inputs(wanted: dict[str, Any], size: int) -> tuple[GeometryOperator, dict[str, Tensor], Any]:
    """Model, its inputs and the partition of a case."""
    torch.manual_seed(0)
    settings = {k: v for k, v in wanted.items() if k not in ("weighed", "dtype")}
    given = case(dtype=wanted.get("dtype", torch.float64))
    model = GeometryOperator(2, 3, 2, **{**SIZES, **settings}).to(given["pos"].dtype)
    partition = Partition.of(given["pos"], size, given["edge_index"])
    if wanted.get("weighed") == "nowhere":
        given["measure"] *= 0
    if wanted.get("weighed") == "elsewhere":
        given["measure"] *= partition.owner > 0
    return model, given, partition


def answers(name: str, mesh: SharedMesh | None, size: int) -> dict[str, Tensor]:
    """Fields and gradients of a case, on one process without ``mesh``."""
    wanted = CASES[name]
    model, given, _ = inputs(wanted, size)
    edges = given.pop("edge_index")
    rows = slice(None) if mesh is None else mesh.part.nodes
    leaves = {k: (v if k == "cond" else v[rows]).clone() for k, v in given.items()}
    asked = ["x", "pos"] + ["measure"] * bool(wanted.get("weighed"))
    asked += ["cond"] * ("cond_channels" in wanted)
    for key in asked:
        leaves[key].requires_grad_()
    measure = leaves["measure"] if wanted.get("weighed") else None
    cond = leaves["cond"] if "cond" in asked else None
    if mesh is None:
        y = model(leaves["x"], leaves["pos"], edge_index=edges, measure=measure, cond=cond)
    else:
        layout = mesh.layout(leaves["pos"], measure)
        y = model(leaves["x"], leaves["pos"], layout, cond=cond)
    sums = ((y - leaves["truth"]) ** 2).sum(), (leaves["truth"] ** 2).sum()
    if mesh is not None:
        sums = mesh.sum(*sums)
    loss = (sums[0] / sums[1]).sqrt()
    (loss / (1 if mesh is None else size)).backward()
    copies = [*model.parameters()] + ([cond] if cond is not None else [])
    if mesh is not None:
        mesh.sum_gradients(copies)
    with torch.no_grad():
        found = {"loss": loss, "y": y if mesh is None else mesh.gather(y)}
        for key in asked:
            grad = leaves[key].grad
            owned = mesh is not None and key != "cond"
            found[f"gradient of {key}"] = mesh.gather(grad) if owned else grad
    for key, parameter in model.named_parameters():
        found[f"gradient of {key}"] = parameter.grad
    return {key: value.detach() for key, value in found.items() if value is not None}


def second_derivatives(mesh: SharedMesh | None, size: int) -> dict[str, Tensor]:
    """Gradients of the square of a gradient, as a loss on derivatives has them."""
    model, given, _ = inputs({**LOCAL, "weighed": True}, size)
    rows = slice(None) if mesh is None else mesh.part.nodes
    x, pos = given["x"][rows], given["pos"][rows].clone().requires_grad_()
    measure = given["measure"][rows]
    if mesh is None:
        y = model(x, pos, edge_index=given["edge_index"], measure=measure)
    else:
        y = model(x, pos, mesh.layout(pos, measure))
    (slope,) = torch.autograd.grad(y.square().sum(), pos, create_graph=True)
    slope.square().sum().backward()
    if mesh is None:
        return {"slope": slope.detach(), "gradient": pos.grad, "weight": model.lift.out.weight.grad}
    mesh.sum_gradients([model.lift.out.weight])
    with torch.no_grad():
        slope, gradient = mesh.gather(slope), mesh.gather(pos.grad)
    return {"slope": slope, "gradient": gradient, "weight": model.lift.out.weight.grad}


def bytes_sent(nodes: int, mesh_of: Callable[[Partition], SharedMesh], size: int) -> Any:
    """Of one forward and backward on a mesh of so many nodes."""
    given = case(nodes, torch.float32)
    torch.manual_seed(0)
    model = GeometryOperator(2, 3, 2, **SIZES, **LOCAL)
    mesh = mesh_of(Partition.of(given["pos"], size, given["edge_index"]))
    rows = mesh.part.nodes
    model(given["x"][rows], given["pos"][rows], mesh.layout(given["pos"][rows])).sum().backward()
    return mesh.traffic, str(mesh.traffic), len(mesh.part.halo), len(mesh.part.send)


def errors(rank: int, size: int) -> dict[str, str]:
    """What is refused, by the messages."""
    found = {}

    def refused(what: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (ValueError, RuntimeError) as error:
            found[what] = f"{type(error).__name__}: {error}"

    given = case()
    pos, edges = given["pos"], given["edge_index"]
    mesh = SharedMesh(Partition.of(pos, size, edges).part(rank))
    here = pos[mesh.part.nodes]
    layout = mesh.layout(here)
    refused("size", lambda: SharedMesh(Partition.of(pos, size + 1).part(rank)))
    refused("rank", lambda: SharedMesh(Partition.of(pos, size).part(0)))
    other = pos if rank else pos.flip(0)
    refused("partition", lambda: SharedMesh(Partition.of(other, size).part(rank)))
    refused("nodes", lambda: mesh.layout(pos))
    model = {"mixer": "full", **SIZES}
    refused("mixer", lambda: GeometryOperator(0, 1, 2, **model).double()(None, here, layout))
    rows = torch.randn(len(here), 8).double()
    refused("layer", lambda: FullAttention(8, 2).double()(rows, layout))
    block = LRSABlock(8, 2, 3).double()
    found["block"] = str(block(rows, layout).shape == rows.shape)
    sage = GeometryOperator(0, 1, 2, **SIZES, local="SAGEConv").double()
    refused("local", lambda: sage(None, here, layout))
    bare = SharedMesh(Partition.of(pos, size).part(rank)).layout(here)
    conv = GeometryOperator(0, 1, 2, **SIZES, **LOCAL).double()
    refused("no edges", lambda: conv(None, here, bare))
    refused("edges", lambda: conv(None, here, bare, edge_index=torch.zeros(2, 1).long()))
    return found


def work(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    join(rank, size, folder)
    _, _, partition = inputs({}, size)
    found: dict[str, Any] = {}
    mesh = SharedMesh(partition.part(rank))
    for name in cases(size):
        found[name] = answers(name, mesh, size)
    found["second derivatives"] = second_derivatives(mesh, size)
    found["bytes"] = [
        bytes_sent(nodes, lambda p: SharedMesh(p.part(rank)), size) for nodes in (60, 600)
    ]
    found["errors"] = errors(rank, size)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def lose(rank: int, size: int, folder: str) -> None:
    """One process ends or hangs between two layers; the others say what they waited for."""
    how = Path(folder).name
    join(rank, size, folder, timeout=4)
    given = case()
    mesh = SharedMesh(Partition.of(given["pos"], size).part(rank))
    mesh.sum(torch.ones(1))
    if rank == 1:
        if how == "hangs":
            time.sleep(30)
        os._exit(1)
    began = time.monotonic()
    try:
        mesh.sum(torch.ones(1))
    except LostProcessError as error:
        Path(folder, str(rank)).write_text(f"{time.monotonic() - began} {error}")
    os._exit(0)


def join(rank: int, size: int, folder: str, timeout: float = 60) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )


def start(act: Callable[..., None], size: int, folder: Path, wait: bool = True) -> Any:
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lrsa_geo.nn"])  # imported once, not in every process
    folder.mkdir()
    return torch.multiprocessing.start_processes(
        act, (size, str(folder)), size, join=wait, start_method="forkserver"
    )


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What each process of a world of two and of one of four has found."""
    folder = tmp_path_factory.mktemp("worlds")
    found = {}
    for size in (2, 4):
        start(work, size, folder / str(size))
        files = [folder / str(size) / f"{rank}.pt" for rank in range(size)]
        found[size] = [torch.load(file, weights_only=False) for file in files]
    return found


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if value.dtype == torch.float64:
            scale = max(1.0, float(value.abs().max()))
            assert (found[key] - value).abs().max() <= 1e-10 * scale, key
        else:  # where the rounding of a single element may decide
            rounding = 5e-6 if "gradient" in key else 1e-6  # sums over the nodes, of either sign
            size = max(1.0, float(value.norm()))
            assert (found[key] - value).norm() <= rounding * size, key


@pytest.mark.parametrize(("size", "name"), [(s, n) for s in (2, 4) for n in cases(s)])
def test_fields_and_gradients_are_those_of_one_process(worlds, size: int, name: str) -> None:
    expected = answers(name, None, size)
    for found in worlds[size]:
        if "one without mass" in name:  # there, gradients of a measure of 0 are left out
            for gradients in (found[name], expected):
                gradients.pop("gradient of measure", None)
        assert_alike(found[name], expected)


@pytest.mark.parametrize("size", [2, 4])
def test_second_derivatives_are_those_of_one_process(worlds, size: int) -> None:
    expected = second_derivatives(None, size)
    for found in worlds[size]:
        assert_alike(found["second derivatives"], expected)


@pytest.mark.parametrize("size", [2, 4])
def test_what_is_sent_for_latents_does_not_depend_on_the_nodes(worlds, size: int) -> None:
    for found in worlds[size]:
        (small, said, *_), (large, _, halo, sent) = found["bytes"]
        assert small.sums == large.sums
        assert small.num_sums == large.num_sums
        # log-sum-exp twice (its maximum, its sum) and the means, and the two sums backwards.
        latents, heads, channels, blocks = 3, 2, 8, 2
        assert large.sums == 4 * blocks * latents * (3 * heads + 2 * channels)
        positions, rows = 2 * 2 * sent, channels * blocks * (sent + halo)
        assert large.halos == 4 * (positions + rows)
        assert said.startswith(f"{small.sums:,} bytes in {small.num_sums} sums")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("size", "ValueError: there are 2 processes, and rank 0 has a part of a partition into 3"),
        ("rank", "ValueError: rank 1 has part 0, expected part 1"),
        ("partition", "ValueError: rank 1 has a part of another partition than rank 0"),
        ("nodes", "ValueError: `pos` has shape [60, 2], expected [30, D]"),
        ("mixer", "ValueError: FullAttention gathers no summary that can be added"),
        ("layer", "ValueError: FullAttention gathers no summary that can be added"),
        ("block", "True"),
        ("local", "ValueError: the local layer is SAGEConv"),
        ("no edges", "ValueError: `edge_index` is None, but the model has local layers"),
        ("edges", "ValueError: `batch` is the layout of a mesh of several processes"),
    ],
)
def test_what_cannot_be_shared_is_refused_by_every_process(worlds, what, message) -> None:
    for found in worlds[2]:
        assert found["errors"][what].startswith(message)


@pytest.mark.parametrize("how", ["ends", "hangs"])
def test_a_process_that_is_lost_ends_the_others(tmp_path: Path, how: str) -> None:
    started = start(lose, 3, tmp_path / how, wait=False)
    deadline = time.monotonic() + 40
    said = [tmp_path / how / str(rank) for rank in (0, 2)]
    while not all(file.exists() and file.read_text() for file in said):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for process in started.processes:
        process.kill()
        process.join()
    for rank, file in zip((0, 2), said, strict=True):
        seconds, text = file.read_text().split(" ", 1)
        assert float(seconds) < 15
        assert text.startswith(f"rank {rank} of 3: adding up failed: ")


def test_there_must_be_a_process_group() -> None:
    with pytest.raises(RuntimeError, match="there is no process group"):
        SharedMesh(Partition.of(torch.rand(4, 2), 2).part(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Partition(torch.tensor([0, 0, 2])), "part 1 of 3 has no node of 3"),
        (lambda: Partition(torch.tensor([0, 1]), size=3), "part 2 of 3 has no node of 2"),
        (lambda: Partition(torch.tensor([0, 3]), size=2), "node 1 belongs to part 3, expected 0"),
        (lambda: Partition(torch.tensor([0, -1])), "node 1 belongs to part -1"),
        (lambda: Partition(torch.tensor([0.0])), "`owner` has shape"),
        (lambda: Partition(torch.empty(0).long()), "part 0 of 0 has no node"),
        (lambda: Partition(torch.tensor([0, 1]), torch.tensor([[0], [2]])), "points at nodes 0 to"),
        (lambda: Partition.of(torch.rand(3, 2), 4), "`size` is 4, expected 1 to 3"),
        (lambda: Partition.of(torch.rand(3, 2), 2).part(2), "`rank` is 2, expected 0 to 1"),
        (lambda: parts([0, 1], [3]), "node 2 of 4 belongs to no part"),
        (lambda: parts([0, 1, 2], [1, 3]), "node 1 of 4 belongs to 2 parts"),
        (lambda: parts([0, 1, 2, 3], []), "part 1 of 2 has no node"),
        (lambda: parts([0, 1, 2], [4]), "a part has node 4, expected 0 to 3"),
    ],
)
def test_partitions_that_are_none(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def parts(*nodes: list[int]) -> Partition:
    return Partition.of_nodes([torch.tensor(n, dtype=torch.long) for n in nodes], 4)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 60])
def test_every_edge_is_in_the_part_that_it_reaches(size: int) -> None:
    given = case()
    partition = Partition.of(given["pos"], size, given["edge_index"])
    assert max(partition.counts) - min(partition.counts) <= 1 + (size > 2)
    found = []
    all_parts = [partition.part(rank) for rank in range(size)]
    for part in all_parts:
        number = torch.cat([part.nodes, part.halo])
        assert not set(part.nodes.tolist()) & set(part.halo.tolist())
        assert bool((part.edge_index[1] < len(part.nodes)).all())
        found += number[part.edge_index].T.tolist()
        for other in all_parts:  # what one sends is what the other takes
            sent = part.nodes[part.send].split(part.sent)[other.rank]
            taken = other.halo.split(other.receive)[part.rank]
            assert sent.tolist() == taken.tolist()
    assert sorted(found) == sorted(given["edge_index"].T.tolist())
    again = Partition.of_nodes([part.nodes for part in all_parts], NODES, given["edge_index"])
    assert torch.equal(again.owner, partition.owner)
    assert again.digest == partition.digest


def test_parts_of_a_line_are_its_pieces() -> None:
    pos = torch.arange(12.0)[:, None].flip(0)
    assert Partition.of(pos, 3).owner.tolist() == [2] * 4 + [1] * 4 + [0] * 4

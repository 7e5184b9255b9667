"""Series in a MeshStore: states [N, T, K], of which any window of steps is one contiguous read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch

from lrsa_geo.data import MeshStore, StoreError, match_store, migrate
from lrsa_geo.data.store.format import VERSION_WITHOUT_SERIES
from lrsa_geo.mesh import Field, MeshData

FIELDS = {
    "states": (Field("U", "m/s", ("x", "y")), Field("p", "Pa")),
    "x_t": (Field("heat", "W"),),
    "cond_t": (Field("inflow", "m/s"),),
}


def series(nodes: int, steps: int, seed: int = 0, moves: bool = True) -> MeshData:
    draw = torch.Generator().manual_seed(seed)
    data = MeshData(
        pos=torch.rand(nodes, 2, generator=draw),
        states=torch.randn(nodes, steps, 3, generator=draw),
        x_t=torch.randn(nodes, steps, 1, generator=draw),
        cond_t=torch.randn(steps, 1, generator=draw),
        times=torch.rand(steps, generator=draw, dtype=torch.float64).cumsum(0),
    )
    if moves:
        data.pos_t = torch.rand(nodes, steps, 2, generator=draw)
    return data


def forms(graphs: list[MeshData]) -> list[dict]:
    arrays = ("pos", "states", "x_t", "cond_t", "times", "pos_t")
    return [{a: (g[a].numpy().dtype, list(g[a].shape)) for a in arrays} for g in graphs]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 6)), min_size=1, max_size=4),
    compression=st.sampled_from([None, "lzf"]),
    sized=st.booleans(),
)
def test_a_series_comes_back_whole_and_in_windows(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[tuple[int, int]],
    compression: str | None,
    sized: bool,
) -> None:
    path = tmp_path_factory.mktemp("s") / "s.h5"
    graphs = [series(nodes, steps, seed) for seed, (nodes, steps) in enumerate(sizes)]
    told = forms(graphs) if sized else None
    store = MeshStore.write(path, graphs, FIELDS, compression=compression, forms=told)
    store.verify()
    assert store.is_series
    assert store.num_steps.tolist() == [steps for _, steps in sizes]
    for number, graph in enumerate(graphs):
        found = store[number]
        for array in ("pos", "states", "x_t", "cond_t", "times", "pos_t"):
            assert torch.equal(found[array], graph[array]), array
        steps = len(graph.times)
        for first in range(steps):
            for last in range(first + 1, steps + 1):
                part = store.window(number, first, last, ["states", "times", "cond_t"])
                assert torch.equal(part["states"], graph.states[:, first:last])
                assert torch.equal(part["times"], graph.times[first:last])
                assert torch.equal(part["cond_t"], graph.cond_t[first:last])


def test_a_window_is_one_contiguous_range_of_the_file(tmp_path: Path) -> None:
    graphs = [series(5, 4), series(3, 6, 1)]
    store = MeshStore.write(tmp_path / "s.h5", graphs, FIELDS)
    with h5py.File(store.path) as file:
        states = file["state/states"]
        assert states.id.get_offset() is not None  # contiguous on disk
        expected = graphs[1].states[:, 2:5].transpose(0, 1).reshape(-1, 3)
        first = 5 * 4 + 3 * 2
        assert np.array_equal(states[first : first + 9], expected.numpy())


def test_steps_that_are_not_there_are_refused(tmp_path: Path) -> None:
    store = MeshStore.write(tmp_path / "s.h5", [series(5, 4)], FIELDS)
    for first, last in ((-1, 2), (2, 2), (3, 5)):
        with pytest.raises(IndexError, match="graph 0 has 4 steps"):
            store.window(0, first, last, ["states"])


def test_appended_series_follow_those_before(tmp_path: Path) -> None:
    one, two = series(5, 4), series(3, 6, 1)
    MeshStore.write(tmp_path / "s.h5", [one], FIELDS)
    store = MeshStore.append(tmp_path / "s.h5", [two])
    assert torch.equal(store[0].states, one.states)
    assert torch.equal(store[1].states, two.states)
    assert store.num_steps.tolist() == [4, 6]


def test_a_store_without_series_stays_readable_for_older_versions(tmp_path: Path) -> None:
    graph = MeshData(pos=torch.rand(4, 2), y=torch.rand(4, 1))
    store = MeshStore.write(tmp_path / "s.h5", [graph], {"y": (Field("p"),)})
    with h5py.File(store.path) as file:
        assert file.attrs["version"] == VERSION_WITHOUT_SERIES
        assert sorted(file["offsets"]) == ["cell", "edge", "node"]
    assert not store.is_series
    assert store.num_steps.tolist() == [0]
    assert migrate(store.path).version == VERSION_WITHOUT_SERIES


def test_series_batch_beside_each_other() -> None:
    one, two = series(5, 4), series(3, 4, 1)
    batch = Batch.from_data_list([one, two])
    assert torch.equal(batch.states, torch.cat([one.states, two.states]))
    assert torch.equal(batch[1].times, two.times)
    one.validate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.update({"times": g.times.flip(0)}), r"'times'.*that increase"),
        (lambda g: g.update({"times": g.times[:, None]}), r"'times' has shape \(4, 1\)"),
        (lambda g: g.pop("times"), "no {'times'}"),
        (lambda g: g.pop("states"), "no {'states'}"),
        (lambda g: g.update({"states": g.states[:, :3]}), r"expected \[5, 4, columns\]"),
        (lambda g: g.update({"states": g.states[:4]}), "expected 5 rows"),
        (lambda g: g.update({"x_t": g.x_t[:, :, 0]}), r"'x_t' has shape \(5, 4\)"),
        (lambda g: g.update({"cond_t": g.cond_t[:2]}), "expected 4 rows"),
        (lambda g: g.update({"states": g.states[:, :, :2]}), "names 3 columns"),
    ],
)
def test_what_is_no_series_is_refused_by_name(tmp_path: Path, change, message: str) -> None:
    graph = series(5, 4)
    change(graph)
    with pytest.raises(StoreError, match=message):
        MeshStore.write(tmp_path / "s.h5", [graph], FIELDS)
    assert not (tmp_path / "s.h5").exists()


def test_columns_are_matched_in_windows_too(tmp_path: Path) -> None:
    graph = series(5, 4)
    store = MeshStore.write(tmp_path / "s.h5", [graph], FIELDS)
    wanted = (Field("p", "kPa"), Field("U", "m/s", ("y", "x")))
    seen = match_store(store, {"states": wanted})
    expected = graph.states[..., [2, 1, 0]] * torch.tensor([1e-3, 1, 1])
    torch.testing.assert_close(seen[0].states, expected)
    torch.testing.assert_close(seen.window(0, 1, 3, ["states"])["states"], expected[:, 1:3])


MEMORY = """
import sys, torch
import lrsa_geo.data.store.open_file as module
from lrsa_geo.data import MeshStore, SeriesConfig, StepView, StoreDataset, stepping_of
module.RESIDENT_BYTES = 1 << 23
torch.set_num_threads(1)
def memory(what):
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines[what].split()[0])
store = MeshStore(sys.argv[1])
view = StepView(store, stepping_of(store, SeriesConfig(), range(len(store))))
examples = StoreDataset(view, arrays=["pos", "x", "y"], in_memory=True)
order = torch.randperm(len(examples)).tolist()
for i in order[:20]: examples[i]
before = memory("VmRSS"), memory("RssAnon")
for i in order: examples[i]
print(memory("VmRSS") - before[0], memory("RssAnon") - before[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_memory_of_reading_steps_does_not_grow_with_their_number(tmp_path: Path) -> None:
    fields = {"states": (Field("u"),)}
    pos, states = torch.rand(4000, 2), torch.rand(4000, 300, 1)
    graph = MeshData(pos=pos, states=states, times=torch.arange(300, dtype=torch.float64))
    store = MeshStore.write(tmp_path / "s.h5", (graph for _ in range(20)), fields)
    assert store.path.stat().st_size > 90e6
    code = [sys.executable, "-c", MEMORY, str(store.path)]
    for kib in subprocess.run(code, capture_output=True, text=True, check=True).stdout.split():
        assert int(kib) < 24 * 1024

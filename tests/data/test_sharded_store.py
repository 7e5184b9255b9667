"""Several store files as one: the joined shards are the whole store, graph for graph."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch_geometric.data import Data

import lrsa_geo.data.store.sharded as sharded
from lrsa_geo.data import (
    MeshStore,
    SeriesConfig,
    ShardedStore,
    Split,
    Statistics,
    StepView,
    StoreDataset,
    StoreError,
    check_store,
    describe,
    make_split,
    match_store,
    names_store,
    open_store,
    split_path,
    stepping_of,
    store_name,
)
from lrsa_geo.data.store.names import missing_names
from lrsa_geo.files import natural_order
from lrsa_geo.mesh import Field

FIELDS = {"y": (Field("pressure", "Pa"), Field("U", "m/s", ("x", "y"))), "cond": (Field("mach"),)}
few_examples = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def graph(nodes: int, seed: int = 0, **others: torch.Tensor) -> Data:
    draw = torch.Generator().manual_seed(seed)
    data = Data(
        pos=torch.randn(nodes, 2, generator=draw),
        y=torch.randn(nodes, 3, generator=draw),
        cells=torch.randint(max(nodes, 1), (nodes // 3, 3), generator=draw).int(),
        cond=torch.randn(1, 1, generator=draw),
    )
    return data.update(others)


def series(nodes: int, steps: int, seed: int) -> Data:
    draw = torch.Generator().manual_seed(seed)
    return Data(
        pos=torch.randn(nodes, 2, generator=draw),
        states=torch.randn(nodes, steps, 1, generator=draw),
        times=torch.arange(steps, dtype=torch.float64),
    )


def write(folder: Path, parts: list[list[Data]], fields: dict = FIELDS) -> tuple[MeshStore, Path]:
    """The graphs in one file, and in shards."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.h5"):
        old.unlink()
    for number, part in enumerate(parts):
        MeshStore.write(folder / f"part-{number}.h5", part, fields, {"solver": "x", "part": number})
    whole = [data for part in parts for data in part]
    return MeshStore.write(folder.parent / "whole.h5", whole, fields), folder


def same(one: Data, other: Data) -> bool:
    keys = {*one.keys()}
    return keys == {*other.keys()} and all(
        torch.equal(one[k], other[k]) if torch.is_tensor(one[k]) else one[k] == other[k]
        for k in keys
    )


@st.composite
def parts(draw: st.DrawFn) -> list[list[Data]]:
    sizes = draw(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=4), min_size=1))
    seeds = iter(range(10_000))
    return [[graph(nodes, next(seeds)) for nodes in part] for part in sizes]


@few_examples
@given(parts=parts(), order=st.randoms(use_true_random=False))
def test_shards_are_the_whole_store(tmp_path, parts, order):
    whole, folder = write(tmp_path / "shards", parts)
    store = open_store(folder / "part-*.h5")
    assert isinstance(store, ShardedStore)
    assert isinstance(open_store(whole.path), MeshStore)
    assert len(store) == len(whole)
    assert store.fields == whole.fields
    assert store.arrays == whole.arrays
    assert store.num_nodes.tolist() == whole.num_nodes.tolist()
    numbers = list(range(-len(whole), len(whole)))
    order.shuffle(numbers)
    for i in numbers:
        assert same(store[i], whole[i])
        some = store.arrays_of(i, ["y", "cond"])
        assert torch.equal(some["y"], whole[i].y)
        nodes = torch.arange(0, int(whole.num_nodes[i]), 2)
        assert torch.equal(store.rows_of(i, ["pos"], nodes)["pos"], whole[i].pos[::2])
    for array in whole.arrays:
        assert np.array_equal(store.read(array), whole.read(array))
        pieces = [*store.pieces(array)]
        assert sum(map(len, pieces)) == len(whole.read(array))
    assert make_split(store) == make_split(whole)
    store.verify()
    for outside in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError, match=f"graph {outside} of {len(whole)}"):
            store[outside]


@few_examples
@given(
    sizes=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.integers(3, 7)), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    history=st.integers(1, 2),
)
def test_shards_of_series_give_the_steps_of_the_whole(tmp_path, sizes, history):
    seeds = iter(range(10_000))
    parts = [[series(*size, next(seeds)) for size in part] for part in sizes]
    whole, folder = write(tmp_path / "series", parts, {"states": (Field("p", "Pa"),)})
    config = SeriesConfig(history=history)
    views = []
    for store in (open_store(folder), whole):
        numbers = list(range(len(store)))
        views.append(StepView(store, stepping_of(store, config, numbers)))
        assert views[-1].is_series
    found, expected = views
    assert len(found) == len(expected)
    assert all(same(found[i], expected[i]) for i in range(len(expected)))
    with pytest.raises(IndexError, match=r"part-0.h5: graph 0 has .* steps"):
        found.series.window(0, 0, 99, ["states"])


def test_statistics_matching_and_summary_are_those_of_the_whole(tmp_path):
    parts = [[graph(5 + i, 10 * p + i) for i in range(4)] for p in range(3)]
    whole, folder = write(tmp_path / "shards", parts)
    store = open_store(folder)
    of_shards, of_whole = (
        Statistics.of_store(s, range(len(s)), s.fields).moments["y"] for s in (store, whole)
    )
    assert torch.equal(of_shards.mean, of_whole.mean)
    assert torch.equal(of_shards.variance, of_whole.variance)
    wanted = {"y": (Field("U", "mm/s", ("y", "x")),)}
    found, expected = (match_store(s, wanted) for s in (store, whole))
    assert all(same(found[i], expected[i]) for i in range(len(whole)))
    assert np.array_equal(np.concatenate([*found.pieces("y")]), expected.read("y"))
    found.verify()
    assert check_store(store) == check_store(whole)
    text = describe(store)
    for part in ("12 graphs", "3 files, read as one store", "part-1.h5: 4 graphs", "solver: x"):
        assert part in text
    ranges = [line for line in describe(whole).splitlines() if line.startswith("  y ")]
    assert ranges
    assert all(line in text for line in ranges)


def test_digest_and_provenance_are_those_of_all_shards_in_order(tmp_path):
    _, folder = write(tmp_path / "shards", [[graph(4, 1)], [graph(5, 2), graph(6, 3)]])
    store = open_store(folder)
    assert store.provenance["solver"] == "x"
    one, other = store.provenance["shards"]
    assert (one["first"], one["graphs"], one["part"]) == (0, 1, 0)
    assert (other["first"], other["graphs"], other["part"]) == (1, 2, 1)
    assert other["sha256"] == MeshStore(folder / "part-1.h5").sha256
    files = [folder / "part-1.h5", folder / "part-0.h5"]
    assert ShardedStore(folder, files).sha256 != store.sha256
    assert ShardedStore(folder, files[::-1]).sha256 == store.sha256


# Names


def test_shards_are_in_natural_order_and_hidden_files_are_none(tmp_path):
    for number in (10, 9, 1, 2):
        MeshStore.write(tmp_path / f"s{number}.h5", [graph(number, number)], FIELDS)
    (tmp_path / ".s3.0badc0de.h5").write_bytes(b"not whole yet")
    (tmp_path / "notes.txt").write_text("no store")
    store = ShardedStore(tmp_path, None)
    assert store.num_nodes.tolist() == [1, 2, 9, 10]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), unique=True))
def test_natural_order_is_that_of_names_and_then_numbers(pairs):
    names = [f"{text}-{number}.h5" for text, number in pairs]
    assert sorted(names, key=natural_order) == [f"{t}-{n}.h5" for t, n in sorted(pairs)]


@pytest.mark.parametrize(
    ("pattern", "name", "split"),
    [
        ("shards/part-*.h5", "part-all", "shards/part-all.split.json"),
        ("shards/*.h5", "all", "shards/all.split.json"),
        ("shards/**/p?.h5", "all-pall", "shards/all-pall.split.json"),
        ("shards", "shards", "shards.split.json"),
        ("mine.v2.h5", "mine.v2", "mine.v2.split.json"),
    ],
)
def test_what_belongs_to_a_store_has_a_name_without_wildcards(tmp_path, pattern, name, split):
    (tmp_path / "shards").mkdir()
    assert store_name(tmp_path / pattern) == name
    assert split_path(tmp_path / pattern) == tmp_path / split


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"a\*\.h5: the pattern matches no file that ends in .h5"):
        open_store(tmp_path / "a*.h5")
    with pytest.raises(StoreError, match=r"the folder has no file that ends in \.h5"):
        open_store(tmp_path)
    assert not names_store(tmp_path)
    with pytest.raises(StoreError, match=r"a\.h5: no such file"):
        open_store(tmp_path / "a.h5")


@given(there=st.sets(st.integers(0, 30), min_size=2), width=st.integers(1, 3))
def test_names_that_a_numbered_range_lacks(there, width):
    lacking = {*range(min(there), max(there))} - there
    found = missing_names([Path(f"x2/part-{number:0{width}d}.h5") for number in there])
    if len(lacking) < len(there):
        assert {Path(name).stem for name in found} == {f"part-{n:0{width}d}" for n in lacking}
        assert [*map(natural_order, found)] == sorted(map(natural_order, found))
    else:
        assert found == []


def test_a_missing_shard_is_named(tmp_path):
    _, folder = write(tmp_path / "shards", [[graph(4, 1)], [graph(5, 2)], [graph(6, 3)]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_store(folder)
    (folder / "part-1.h5").unlink()
    with pytest.warns(UserWarning, match=r"one store of 2 files, of which .*part-1\.h5 is miss"):
        store = open_store(folder)
    assert "missing: " in describe(store)
    assert any("part-1.h5 is not there" in f.examples[0] for f in check_store(store))


# What does not fit


@pytest.mark.parametrize(
    ("other", "fields", "message"),
    [
        (graph(5), {**FIELDS, "cond": (Field("alpha"),)}, "fields of 'cond' are alpha, .* mach"),
        (
            graph(5),
            {**FIELDS, "y": (Field("pressure", "kPa"), FIELDS["y"][1])},
            "'pressure' of 'y' is in kPa, in the other file in Pa",
        ),
        (
            graph(5),
            {**FIELDS, "y": (FIELDS["y"][0], Field("U", "m/s", ("x", "z")))},
            r"'U' of 'y' has the components \['x', 'z'\], .*\['x', 'y'\]",
        ),
        (graph(5, measure=torch.ones(5)), FIELDS, "has the array 'measure', .*a.h5 has none"),
        (graph(5, pos=torch.zeros(5, 3)), FIELDS, r"'pos' has rows float32\[3\], .*float32\[2\]"),
        (graph(5, pos=torch.zeros(5, 2).double()), FIELDS, r"'pos' has rows float64\[2\]"),
        (
            Data(pos=torch.ones(2, 2), states=torch.ones(2, 2, 1), times=torch.arange(2.0)),
            {"states": (Field("p"),)},
            "of one the graphs are series, of the other they are not",
        ),
    ],
)
def test_shards_that_do_not_agree_are_refused_by_name(tmp_path, other, fields, message):
    MeshStore.write(tmp_path / "a.h5", [graph(4)], FIELDS)
    MeshStore.write(tmp_path / "b.h5", [other], fields)
    with pytest.raises(StoreError, match=rf"b\.h5 and .*a\.h5 cannot be read as one.*{message}"):
        open_store(tmp_path)


def test_shards_whose_meshes_were_read_in_two_ways_are_refused(tmp_path):
    for name, step in (("a", 0), ("b", -1)):
        about = {"reader": {"step": step}}
        MeshStore.write(tmp_path / f"{name}.h5", [graph(4, step + 9)], FIELDS, about)
    with pytest.raises(StoreError, match=r"b\.h5 and .*were read with step = -1 and 0"):
        open_store(tmp_path)


def made(path: Path, numbers: list[int], **recipe: object) -> None:
    graphs = [graph(4, s, sample=torch.tensor([s])) for s in numbers]
    MeshStore.write(path, graphs, FIELDS, {"name": "plate", "recipe": {"seed": 0, **recipe}})


def test_a_graph_that_is_there_twice_is_refused_by_name(tmp_path):
    made(tmp_path / "a.h5", [0, 1, 2], samples=3)
    made(tmp_path / "b.h5", [5, 2], samples=2)
    with pytest.raises(StoreError, match=r"a\.h5 and .*b\.h5 both have sample 2 of the recipe"):
        open_store(tmp_path)
    made(tmp_path / "b.h5", [0, 1, 2], samples=3, seed=1)
    with pytest.raises(StoreError, match=r"b\.h5 and .*a\.h5 have the same contents"):
        open_store(tmp_path)
    made(tmp_path / "b.h5", [2], samples=3, seed=1)  # another recipe: another sample 2
    assert len(open_store(tmp_path)) == 4


# Many files, several processes, files that change


@pytest.fixture
def many(tmp_path) -> ShardedStore:
    for number in range(40):
        graphs = [graph(3 + number, 2 * number + i) for i in range(2)]
        MeshStore.write(tmp_path / f"{number}.h5", graphs, FIELDS)
    store = open_store(tmp_path)
    assert isinstance(store, ShardedStore)
    return store


def open_files(folder: Path) -> int:
    """Descriptors of this process that are files of a folder."""
    names = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            names.append(os.readlink(link))
        except OSError:
            continue
    return sum(Path(name).parent == folder and name.endswith(".h5") for name in names)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc")
def test_only_so_many_files_are_open_at_a_time(many, monkeypatch):
    assert open_files(many.path) == 0
    monkeypatch.setattr(sharded, "MAX_OPEN", 4)
    for i in torch.randperm(len(many)).tolist():
        assert same(many[i], graph(3 + i // 2, i).update({"num_nodes": 3 + i // 2}))
        assert open_files(many.path) <= 2 * 4  # each is mapped through a second descriptor
    many.verify()
    assert open_files(many.path) <= 2 * 4
    many.close()
    assert open_files(many.path) == 0
    assert many[7].num_nodes == 6


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_shards(many, context):
    many[0]  # the parent has one open
    dataset = StoreDataset(many, arrays=["pos", "y"])
    order = torch.randperm(len(many))[:20].tolist()
    loader = DataLoader(
        dataset, batch_size=None, sampler=order, num_workers=2, multiprocessing_context=context
    )
    for i, data in zip(order, loader, strict=True):
        assert torch.equal(data.y, graph(3 + i // 2, i).y)
    again = pickle.loads(pickle.dumps(many))
    assert same(again[5], many[5])


def test_a_shard_that_changes_is_refused_and_one_that_grows_read_as_before(many):
    path = many.shards[3].path
    many[6]
    MeshStore.append(path, [graph(9)])
    many.close()
    assert same(many[7], graph(6, 7).update({"num_nodes": 6}))
    assert len(many) == len(many.read("cond")) == 80
    assert sum(map(len, many.pieces("cond"))) == 80
    assert len(open_store(many.path)) == 81
    MeshStore.write(path, [graph(9)], FIELDS)
    assert same(many[7], graph(6, 7).update({"num_nodes": 6}))  # who has it open reads on
    many.close()
    with pytest.raises(StoreError, match=r"[/\\]3\.h5: the file was replaced"):
        many[7]
    many[9]


def test_a_split_of_shards_is_kept_beside_them_and_used(many):
    path = split_path(many.path / "*.h5")
    make_split(many).save(path)
    assert Split.load(path, len(many)) == make_split(many)
    assert many.path == path.parent

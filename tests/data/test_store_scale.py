"""MeshStore with thousands of graphs, and while several processes read, append and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, StoreError
from lrsa_geo.data.store.format import datasets_of, digest
from lrsa_geo.data.store.migrate import migrate
from lrsa_geo.mesh import Field

FIELDS = {"y": (Field("pressure", "Pa"),), "cond": (Field("mach"),)}
few_examples = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def graph(nodes: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Data:
    generator = torch.Generator().manual_seed(seed)
    edges = nodes // 2
    return Data(
        pos=torch.randn(nodes, 2, generator=generator, dtype=dtype),
        y=torch.randn(nodes, 1, generator=generator, dtype=dtype),
        boundary=torch.rand(nodes, generator=generator) < 0.5,
        cells=torch.randint(max(nodes, 1), (nodes // 3, 3), generator=generator).int(),
        cell_types=torch.full((nodes // 3,), 5, dtype=torch.int8),
        edge_index=torch.randint(max(nodes, 1), (2, edges), generator=generator),
        cond=torch.randn(1, 1, generator=generator, dtype=dtype),
    )


@st.composite
def graphs(draw: st.DrawFn, dtype: torch.dtype = torch.float32) -> list[Data]:
    """Some graphs, also empty ones and ones without cells or edges."""
    sizes = draw(st.lists(st.integers(0, 200), min_size=1, max_size=5))
    first_seed = draw(st.integers(0, 1000))
    return [graph(nodes, first_seed + i, dtype) for i, nodes in enumerate(sizes)]


def assert_same(found: Data, expected: Data) -> None:
    assert set(found.keys()) - {"num_nodes"} == set(expected.keys())
    assert found.num_nodes == len(expected.pos)
    for array in expected.keys():  # noqa: SIM118
        assert found[array].dtype == expected[array].dtype, array
        assert torch.equal(found[array], expected[array]), array


def assert_holds(store: MeshStore, expected: list[Data]) -> None:
    store.verify()
    assert len(store) == len(expected)
    for found, data in zip(store, expected, strict=True):
        assert_same(found, data)


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A second Python with this module's names, talked to by lines."""
    prelude = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    prelude += "from test_store_scale import *\ntorch.set_num_threads(1)\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str], line: str = "") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


# Many graphs


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> MeshStore:
    """3,000 graphs of 4 to 60 nodes; the one at i has the seed i."""
    path = tmp_path_factory.mktemp("many") / "many.h5"
    return MeshStore.write(path, (graph(4 + i % 57, seed=i) for i in range(3000)), FIELDS)


def test_any_of_thousands_of_graphs_is_found(many: MeshStore):
    assert many.num_nodes.tolist() == [4 + i % 57 for i in range(3000)]
    for i in torch.randperm(3000)[:300].tolist():
        assert_same(many[i], graph(4 + i % 57, seed=i))
    assert_same(many[-3000], graph(4, seed=0))
    for outside in (3000, -3001):
        with pytest.raises(IndexError, match=f"graph {outside} of 3000"):
            many[outside]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_graphs_out_of_thousands_in_any_order(many: MeshStore, context):
    order = torch.randperm(3000)[:400].tolist()
    many[0]  # the parent has it open
    loader = DataLoader(
        many, batch_size=None, sampler=order, num_workers=2, multiprocessing_context=context
    )
    sums = {i: data.y.sum().item() for i, data in zip(order, loader, strict=True)}
    wanted = many.read("y")
    first = np.concatenate([[0], np.cumsum(many.num_nodes)])
    for i, total in sums.items():
        assert total == torch.from_numpy(wanted[first[i] : first[i + 1]]).sum().item()


MEMORY = """
import lrsa_geo.data.store.open_file as module
module.RESIDENT_BYTES = 1 << 23
store = MeshStore(sys.argv[1])
def memory(what):
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines[what].split()[0])
for i in range(20): store[i % len(store)]
before = memory("VmRSS"), memory("RssAnon")
for i in torch.randperm(len(store)).tolist(): store[i]
print(memory("VmRSS") - before[0], memory("RssAnon") - before[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("compression", [None, "lzf"])
def test_a_readers_memory_does_not_grow_with_the_file(tmp_path, compression):
    one, path = graph(20_000), tmp_path / "s.h5"
    store = MeshStore.write(path, (one for _ in range(100)), FIELDS, compression=compression)
    assert sum(one[array].nbytes for array in store.arrays) * len(store) > 50e6
    for kib in start(MEMORY, path).communicate()[0].split():
        # All resident pages (of the mapped file 8 MiB), and those that are the process's own.
        assert int(kib) < 24 * 1024


# Appending


@few_examples
@given(
    old=graphs(),
    new=graphs(),
    more=graphs(),
    compression=st.sampled_from([None, "gzip", "lzf"]),
)
def test_appending_is_writing_all_at_once(tmp_path, old, new, more, compression):
    path = tmp_path / "s.h5"
    MeshStore.write(path, old, FIELDS, {"seed": 1}, compression)
    MeshStore.append(path, iter(new), {"seed": 2})
    store = MeshStore.append(path, more)
    assert_holds(store, [*old, *new, *more])
    assert store.sha256 == MeshStore.write(tmp_path / "t.h5", [*old, *new, *more], FIELDS).sha256
    assert store.fields == FIELDS
    assert store.provenance == {
        "seed": 1,
        "appended": [
            {"first": len(old), "graphs": len(new), "provenance": {"seed": 2}},
            {"first": len(old) + len(new), "graphs": len(more), "provenance": {}},
        ],
    }
    with h5py.File(path, locking=False) as file:  # as the stores have it open
        for array in datasets_of(file).values():
            assert array.compression == (compression if array.chunks else None)
        assert (file["node/pos"].chunks is None) == (
            compression is None or not file["node/pos"].size
        )


def without(data: Data, array: str) -> Data:
    del data[array]
    return data


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([], "no graph to write"),
        ([graph(5), without(graph(5), "boundary")], "graph 1 has arrays .* the ones before it"),
        ([graph(5, dtype=torch.float64)], "graph 0: 'pos' is of type float64, .* float32"),
        ([graph(5).update({"cond": torch.zeros(1, 2)})], "`fields` names 1 columns"),
        ([graph(5).update({"cell_types": torch.ones(9)})], r"'cell_types' has shape .*expected 1"),
    ],
)
def test_graphs_that_do_not_fit_are_not_appended(tmp_path, added, message):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(9)], FIELDS)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        MeshStore.append(path, added)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["s.h5"]


def test_a_damaged_store_is_not_appended_to(tmp_path):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(9)], FIELDS)
    with h5py.File(path, "r+") as file:
        file["node/y"][3] += 1
    for change in (lambda: MeshStore.append(path, [graph(5)]), lambda: migrate(as_version_1(path))):
        with pytest.raises(StoreError, match=r"s\.h5: contents have SHA-256"):
            change()


def test_of_two_appends_at_once_the_later_is_refused(tmp_path):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(9)], FIELDS)

    def meanwhile():
        MeshStore.append(path, [graph(7)])
        yield graph(5)

    with pytest.raises(StoreError, match="another process changed the store meanwhile"):
        MeshStore.append(path, meanwhile())
    assert_holds(MeshStore(path), [graph(9), graph(7)])


APPEND = """
def some():
    for i in range(int(sys.argv[2])):
        yield graph(40_000, seed=i)
    print("collected", flush=True)
    if sys.argv[3] == "collecting": sys.stdin.readline(); sys.stdin.readline()
sys.stdin.readline()
MeshStore.append(sys.argv[1], some())
print("done", flush=True)
"""


@pytest.mark.parametrize("stage", ["collecting", "copying"])
def test_a_killed_append_leaves_the_old_store(tmp_path, stage):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(9), graph(4, 1)], FIELDS)
    before = path.read_bytes()
    process = start(APPEND, path, 100, stage)
    assert answer(process) == "collected"
    while stage == "copying" and not any(
        file.stat().st_size > 1e6 for file in tmp_path.glob(".s.*")
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert "done" not in process.communicate()[0]
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert_holds(MeshStore.append(path, [graph(7, 2)]), [graph(9), graph(4, 1), graph(7, 2)])


# Readers of a file that is replaced


READ = """
store = MeshStore(sys.argv[1])
for line in sys.stdin:
    try:
        print(len(store), [store[i].pos.sum().item() for i in range(len(store))], flush=True)
    except StoreError as error:
        print(error, flush=True)
"""


def sums(*data: Data) -> str:
    return f"{len(data)} {[d.pos.sum().item() for d in data]}"


def test_who_has_the_old_file_open_goes_on_reading_it(tmp_path):
    path = tmp_path / "s.h5"
    a, b, c = graph(5000, 1), graph(6, 2), graph(70, 3)
    MeshStore.write(path, [a, b], FIELDS)
    early = start(READ, path)
    assert answer(early) == sums(a, b)
    MeshStore.append(path, [c])
    after_append = start(READ, path)
    assert answer(early) == sums(a, b)
    assert answer(after_append) == sums(a, b, c)
    MeshStore.write(path, [c], FIELDS)
    after_rewrite = start(READ, path)
    assert answer(early) == sums(a, b)
    assert answer(after_append) == sums(a, b, c)
    assert answer(after_rewrite) == sums(c)
    for reader in (early, after_append, after_rewrite):
        reader.communicate()
        assert reader.returncode == 0


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_an_old_store_read_its_graphs_or_refuse(tmp_path, context):
    path = tmp_path / "s.h5"
    store = MeshStore.write(path, [graph(9), graph(5, 1)], FIELDS)
    loader = DataLoader(store, batch_size=None, num_workers=1, multiprocessing_context=context)
    MeshStore.append(path, [graph(7, 2)])
    assert_same(list(loader)[1], graph(5, 1))
    assert len(store.read("pos")) == sum(map(len, store.pieces("pos"))) == 14
    store.verify()
    other = MeshStore(path)
    MeshStore.write(path, [graph(9), graph(6), graph(7)], FIELDS)
    with pytest.raises(StoreError, match=r"s\.h5: the file was replaced"):
        list(DataLoader(other, batch_size=None, num_workers=1, multiprocessing_context=context))


def test_a_lock_of_another_program_does_not_keep_readers_out(tmp_path):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(9)], FIELDS)
    with h5py.File(path, "r+", locking=True):
        reader = start(READ, path)
        assert answer(reader) == sums(graph(9))
        reader.communicate()


# Storage


@few_examples
@given(data=st.sampled_from([torch.float32, torch.float64]).flatmap(graphs))
def test_compression_changes_neither_contents_nor_digest(tmp_path, data):
    plain = MeshStore.write(tmp_path / "plain.h5", data, FIELDS)
    for compression in ("gzip", "lzf"):
        packed = MeshStore.write(tmp_path / "packed.h5", data, FIELDS, compression=compression)
        assert_holds(packed, data)
        assert packed.sha256 == plain.sha256
        assert_holds(MeshStore.write(tmp_path / "again.h5", packed, packed.fields), data)


def test_an_unknown_compression_is_refused(tmp_path):
    with pytest.raises(StoreError, match="compression 'zip', expected one of"):
        MeshStore.write(tmp_path / "s.h5", [graph(9)], FIELDS, compression="zip")


def as_version_1(path: Path) -> Path:
    """Rewrite a store as version 1 had it: in chunks, and nothing about earlier states."""
    temporary = path.with_name("version_1.h5")
    with h5py.File(path, locking=False) as new, h5py.File(temporary, "w") as old:
        for name, array in datasets_of(new).items():
            if name.startswith("offsets/"):
                old[name] = array[:]
            else:
                shape = array.shape[1:]
                old.create_dataset(name, data=array[:], maxshape=(None, *shape), chunks=(7, *shape))
        old.attrs.update({key: new.attrs[key] for key in new.attrs if key != "earlier"})
        old.attrs["version"] = 1
    temporary.replace(path)
    return path


@few_examples
@given(data=graphs())
def test_version_1_is_read_migrated_and_appended_to(tmp_path, data):
    path = tmp_path / "s.h5"
    current = MeshStore.write(path, data, FIELDS, {"seed": 1})
    as_version_1(path)
    assert MeshStore(path).version == 1
    assert_holds(MeshStore(path), data)
    migrated = migrate(path)
    assert migrated.version == current.version == 2
    assert (migrated.sha256, migrated.fields, migrated.provenance) == (
        current.sha256,
        current.fields,
        current.provenance,
    )
    assert_holds(migrated, data)
    written = path.stat().st_mtime_ns
    assert migrate(path).path.stat().st_mtime_ns == written  # nothing to do
    as_version_1(path)
    assert_holds(MeshStore.append(path, [graph(5)]), [*data, graph(5)])
    assert MeshStore(path).version == 2


def test_provenance_may_be_long(tmp_path):
    provenance = {"failures": ["the mesh generator gave up"] * 10_000}
    store = MeshStore.write(tmp_path / "s.h5", [graph(9)], FIELDS, provenance)
    assert store.provenance == provenance


def test_the_digest_does_not_depend_on_how_the_arrays_are_stored(tmp_path):
    store = MeshStore.write(tmp_path / "s.h5", [graph(9), graph(0), graph(20)], FIELDS)
    with h5py.File(as_version_1(store.path)) as file:
        assert digest(file) == store.sha256

"""Training from a store of 200 GB takes the memory that one of 2 GB takes: of sparse files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lrsa_geo.data.store.format import FORMAT, digest

WIDTHS = {"pos": 3, "x": 4, "y": 4}  # float32: 44 bytes a node
FIELDS = {
    "x": [{"name": f"x{i}", "unit": "1", "components": []} for i in range(4)],
    "y": [{"name": f"y{i}", "unit": "1", "components": []} for i in range(4)],
}
NODE = 4 * sum(WIDTHS.values())


def sparse_store(path: Path, graphs: int, nodes: int, *, sound: bool = False) -> Path:
    """A store of zeros that take no room on the disk.

    With ``sound`` it has nodes at places of their own, and its digest.
    """
    with h5py.File(path, "w", libver=("v108", "latest")) as file:
        file["offsets/node"] = np.arange(graphs + 1, dtype=np.int64) * nodes
        for kind in ("cell", "edge"):
            file[f"offsets/{kind}"] = np.zeros(graphs + 1, np.int64)
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_layout(h5py.h5d.CONTIGUOUS)
        how.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        how.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        group = file.create_group("node")
        for array, width in WIDTHS.items():
            space = h5py.h5s.create_simple((graphs * nodes, width))
            h5py.h5d.create(group.id, array.encode(), h5py.h5t.IEEE_F32LE, space, how)
        file.attrs.update({"format": FORMAT, "version": 2, "provenance": "{}", "earlier": "[]"})
        file.attrs["fields"] = json.dumps(FIELDS)
        if sound:
            file["node/pos"][:] = np.random.default_rng(0).random((graphs * nodes, WIDTHS["pos"]))
        file.attrs["sha256"] = digest(file) if sound else "0" * 64
    assert sound or path.stat().st_blocks * 512 < 24 * graphs + (1 << 20)  # the offsets alone
    return path


# What a child process does with a store, and how much its memory grew meanwhile at most.
CHILD = """
import json, os, resource, sys
import torch
import lrsa_geo.data.store.open_file as open_file
from lrsa_geo.data import SplitConfig, check_store, describe, make_split, open_store
from lrsa_geo.train.config import DataConfig, ModelConfig
from lrsa_geo.train.datamodule import StoreDataModule
from lrsa_geo.train.surrogate import Surrogate

torch.set_num_threads(1)
open_file.RESIDENT_BYTES = 1 << 23  # not 1 GiB: small stores pass it, too
LIMIT = 1 << 30

def status(what):
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return int(lines[what].split()[0]) << 10

def batches(store):
    "Split, and some steps of an epoch in which a step sees few nodes of each graph."
    config = DataConfig(nodes_per_graph=64, in_memory=False, batch_size=4)
    make_split(store, SplitConfig(by="nodes"))
    module = StoreDataModule(store, config, ["pos", "x", "y"], seed=0)
    assert len(module.split.train) > 0.7 * len(store)
    for number, batch in enumerate(module.train_dataloader()):
        assert batch.num_nodes == 4 * 64
        if number == 5: break
    for graph in module.split.test[:2]: store[graph]

def whole(store):
    "All that reads every graph before, and beside, a training."
    text = describe(store)
    assert "graphs" in text
    check_store(store)
    split = make_split(store)
    Surrogate.for_training(ModelConfig(channels=8, depth=1, num_latents=4), store, split.train)

def growth(path, use):
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        text = os.fdopen(read).read()
        assert os.waitpid(child, 0)[1] == 0, (path, use)
        return int(text)
    before = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + LIMIT, resource.RLIM_INFINITY))
    {"batches": batches, "whole": whole}[use](open_store(path))
    os.write(write, str(status("VmHWM") - before).encode())
    os._exit(0)

print(json.dumps([growth(*job) for job in json.loads(sys.argv[1])]))
"""


def growths(jobs: list[tuple[Path, str]]) -> list[int]:
    """By how many bytes the memory of a process grew at most, for each use of a store."""
    arguments = json.dumps([(str(path), use) for path, use in jobs])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[int] = json.loads(done.stdout)
    return found


# By how many bytes more the memory grows with one store than with another, at most.
MOST = {
    ("large-200", "large-2"): 32 << 20,
    # Of a million graphs the offsets, and their places in a split and in an order.
    ("many-200", "many-2"): 300 * 1_000_000,
    ("large-150", "large-50"): 32 << 20,  # of 100 MB more
    # Of 2,700 graphs 2 MB more to read, and of each a few numbers for each of its eight fields.
    ("many-3000", "many-300"): 4_000 * 2_700,
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_a_store(tmp_path):
    large, many = 4_545_455, 4_545  # nodes, so that a thousand, or a million, are 200 GB
    stores = [
        (sparse_store(tmp_path / "large-2.h5", 10, large), "batches"),
        (sparse_store(tmp_path / "large-200.h5", 1_000, large), "batches"),
        (sparse_store(tmp_path / "many-2.h5", 10_000, many), "batches"),
        (sparse_store(tmp_path / "many-200.h5", 1_000_000, many), "batches"),
        (sparse_store(tmp_path / "large-50.h5", 20, 60_000, sound=True), "whole"),
        (sparse_store(tmp_path / "large-150.h5", 60, 60_000, sound=True), "whole"),
        (sparse_store(tmp_path / "many-300.h5", 300, 20, sound=True), "whole"),
        (sparse_store(tmp_path / "many-3000.h5", 3_000, 20, sound=True), "whole"),
    ]
    assert (tmp_path / "large-200.h5").stat().st_size > 199e9
    assert (tmp_path / "many-200.h5").stat().st_size > 199e9
    for _ in range(3):  # pages that others mapped, or that the system keeps, only add
        grown = growths(stores)
        found = {path.stem: growth for (path, _), growth in zip(stores, grown, strict=True)}
        more = {pair: found[pair[0]] - found[pair[1]] for pair in MOST}
        if all(more[pair] < most for pair, most in MOST.items()):
            return
    raise AssertionError(f"memory grows by {more}, expected less than {MOST}")

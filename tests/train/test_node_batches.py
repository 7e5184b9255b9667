"""Batches by nodes: nothing is left out, processes have alike, and the joint loss is minimised."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch_geometric.data import Data

from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore, SplitConfig
from lrsa_geo.mesh import Field
from lrsa_geo.train import DataConfig, StoreDataModule, SurrogateModule, load_config, train
from lrsa_geo.train.batches import NodeBatches

FLAGS = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FLAGS += ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
FLAGS += ["--model.num_latents", "2", "--model.fourier_octaves", "2", "--optim.method", "adamw"]
FLAGS += ["--optim.lr", "0.003", "--data.max_nodes", "70", "--data.batch_size", "6"]
FLAGS += ["--trainer.max_epochs", "3"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clouds of 5 to 60 points; the field of some is not known anywhere."""
    monkeypatch.chdir(tmp_path)
    draw = torch.Generator().manual_seed(0)
    graphs = []
    for number in range(26):
        pos = torch.rand(5 + 11 * number % 56, 2, generator=draw)
        y = (pos[:, :1] * 3 + 0.1).sin()
        more = torch.full_like(y, torch.nan) if number % 3 == 1 else y.square()
        graphs.append(Data(pos=pos, y=torch.cat([y, more], 1), measure=torch.ones(len(pos))))
    MeshStore.write(tmp_path / "mine.h5", graphs, {"y": (Field("p"), Field("q"))})
    return tmp_path


SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(SIZES, st.integers(1, 200), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_each_graph_once_in_batches_that_fit(sizes, max_nodes, batch_size, replicas, shuffle):
    def sampler(rank: int) -> NodeBatches:
        more = {"replicas": replicas, "rank": rank, "seed": 3, "shuffle": shuffle}
        return NodeBatches(sizes, sizes, max_nodes, batch_size, **more)

    ranks = [sampler(rank) for rank in range(replicas)]
    for epoch in (0, 1, 5):
        seen: list[int] = []
        for each in ranks:
            each.set_epoch(epoch)
            batches = list(each)
            assert len(batches) == len(each) == len(ranks[0])
            for batch in batches:
                assert 1 <= len(batch) <= batch_size
                assert len(batch) == 1 or sum(sizes[graph] for graph in batch) <= max_nodes
                seen += batch
            again = sampler(each.rank)
            again.set_epoch(epoch)
            assert list(again) == batches
        assert set(seen) == set(range(len(sizes)))
        if len(sizes) >= replicas * len(ranks[0]):
            assert len(seen) == len(sizes)
        assert len(seen) - len(sizes) < replicas


def test_batches_of_a_step_have_about_the_same_nodes_and_others_in_each_epoch():
    sizes = np.random.default_rng(0).lognormal(6, 0.7, 500).astype(int).tolist()
    sampler = NodeBatches(sizes, sizes, max_nodes=6000, batch_size=64, replicas=4)
    compositions, fill, unlike = set(), [], []
    for epoch in range(10):
        sampler.set_epoch(epoch)
        for step in sampler.steps():
            nodes = [sum(sizes[graph] for graph in batch) for batch in step]
            fill.append(np.mean(nodes) / 6000)
            unlike.append(max(nodes) / np.mean(nodes))
            compositions.update(frozenset(batch) for batch in step)
    assert np.mean(fill) > 0.8
    assert np.mean(unlike) < 1.02
    assert len(compositions) > 0.99 * 10 * 4 * len(sampler)
    drawn = np.random.default_rng(1).permutation(len(sizes))[: 4 * 50].reshape(50, 4)
    by_count = [max(s) / np.mean(s) for s in np.asarray(sizes)[drawn]]  # a graph for each process
    assert np.mean(by_count) > 1.5


def test_loaders_give_batches_of_so_many_nodes(here):
    split = SplitConfig(train=20, val=3, test=3)
    config = DataConfig(path="mine.h5", batch_size=6, max_nodes=70, split=split)
    for workers in (0, 2):
        config.num_workers = workers
        loaders = StoreDataModule(MeshStore("mine.h5"), config, ["pos", "y"], 0)
        for loader in (loaders.train_dataloader(), loaders.test_dataloader()):
            graphs = [batch.graph.tolist() for batch in loader]
            assert len(graphs) == len(loader)
            assert all(batch.num_graphs == 1 or batch.num_nodes <= 70 for batch in loader)
        assert list(chain(*graphs)) == loaders.split.test  # in its order
    config.nodes_per_graph = 5
    batches = list(
        StoreDataModule(MeshStore("mine.h5"), config, ["pos", "y"], 0).train_dataloader()
    )
    assert [batch.num_nodes for batch in batches] == [25] * 4  # 6 would fit, 4 batches are alike


def test_a_resumed_training_has_the_batches_of_an_unbroken_one(here, monkeypatch):
    step = SurrogateModule.training_step
    seen: list[list[int]] = []

    def training_step(self, batch, batch_index):
        if self.current_epoch == 1 and len(seen) == self.trainer.num_training_batches:
            seen.append([])
            raise ValueError("power cut")
        seen.append(batch.graph.tolist())
        return step(self, batch, batch_index)

    monkeypatch.setattr(SurrogateModule, "training_step", training_step)
    run = ["train", "mine.h5", *FLAGS, "--run", "two"]
    assert main(run) == 1
    assert main([*run, "--resume"]) == 0
    resumed = [graphs for graphs in seen if graphs]
    seen[:] = [[-1]] * 1000
    assert main(["train", "mine.h5", *FLAGS, "--run", "one"]) == 0
    assert seen[1000:] == resumed
    assert resumed[: len(resumed) // 3] != resumed[len(resumed) // 3 : 2 * len(resumed) // 3]
    one, two = (load_file(here / run / "model.safetensors") for run in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_processes_minimise_the_loss_of_their_batches_in_one(here, monkeypatch):
    """Where one has more graphs, and more of what is known, than the other."""
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command += ["--master_port", str(29500 + (os.getpid() + 500) % 1000), "-m", "--", "lrsa_geo"]
    command += ["train", "mine.h5", *FLAGS, *two, "--run", "two"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    unlike = []

    class Joined(NodeBatches):
        def __iter__(self):
            steps = self.steps()
            unlike.extend(len({len(batch) for batch in step}) > 1 for step in steps)
            return iter([list(chain(*step)) for step in steps])

    def joined(self, dataset, shuffle, world_size, rank):
        return Joined(dataset, dataset.sizes, 70, 6, 2 if shuffle else 1, 0, self.seed, shuffle)

    config = load_config(here / "two" / "config.yaml")
    config.trainer.devices, config.trainer.strategy = 1, "auto"
    monkeypatch.setattr(StoreDataModule, "_node_batches", joined)
    train(config, here / "one")
    assert any(unlike)
    one, both = (load_file(here / run / "model.safetensors") for run in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(both[name], weight, atol=1e-6, rtol=1e-6)
    losses = []
    for run in ("one", "two"):
        with open(here / run / "history.csv") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize("value", ["0", "-3"])
def test_impossible_numbers_of_nodes_are_refused(here, capsys, value):
    assert main(["train", "mine.h5", *FLAGS, "--data.max_nodes", value]) == 1
    said = capsys.readouterr().err
    assert f"data.max_nodes is {value}, expected 1 or more, or null for all" in said
    assert not (here / "runs").exists()

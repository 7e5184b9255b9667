"""Making many samples: failures, interruption, and the guard against mixing recipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import gmsh
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, StoreError, open_store
from lrsa_geo.jobs import SampleError
from lrsa_geo.mesh import Field, Fields
from lrsa_geo.simulate import Shard, make_store, recipe_class


@dataclass(frozen=True)
class Squares:
    """A quick recipe: graph i has i + 1 nodes at their squares; some numbers cannot be made."""

    name: ClassVar[str] = "squares"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    samples: int = 6
    impossible: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    log: str = ""

    @property
    def fields(self) -> dict[str, Fields]:
        return {"y": (Field("square"),)}

    def sample(self, index: int) -> Data:
        if self.log:
            time.sleep(0.2)
            with open(self.log, "a") as file:
                file.write(f"{index}\n")
        if index in self.deadly:
            os.kill(os.getpid(), signal.SIGSEGV)
        if index in self.impossible:
            raise SampleError("an impossible number")
        numbers = torch.arange(index + 1.0)[:, None]
        return Data(pos=numbers, y=numbers**2, sample=torch.tensor([index]))


def test_samples_arrive_in_order_whatever_finishes_first(tmp_path):
    store = make_store(Squares(), tmp_path / "s.h5", 2)
    assert [int(data.sample) for data in store] == [0, 1, 2, 3, 4, 5]
    assert store.provenance["recipe"]["samples"] == 6
    assert "numpy" in store.provenance["libraries"]
    assert sorted(os.listdir(tmp_path)) == [".s.h5.lock", "s.h5"]


def test_failures_are_replaced_and_reported(tmp_path, capsys):
    store = make_store(Squares(samples=10, impossible=(2, 10)), tmp_path / "s.h5", 2)
    assert [int(data.sample) for data in store] == [0, 1, 3, 4, 5, 6, 7, 8, 9, 11]
    assert store.provenance["failures"] == [
        {"index": 2, "reason": "an impossible number"},
        {"index": 10, "reason": "an impossible number"},
    ]
    assert "2 samples were given up" in capsys.readouterr().out


def test_a_sample_that_kills_its_process_is_a_failure_like_others(tmp_path):
    gmsh.initialize(interruptible=False)  # after which a broken pipe ends this process
    gmsh.finalize()
    store = make_store(Squares(samples=5, deadly=(3,)), tmp_path / "s.h5", 1)
    assert [int(data.sample) for data in store] == [0, 1, 2, 4, 5]
    (failure,) = store.provenance["failures"]
    assert failure["index"] == 3
    assert "the process that made it died" in failure["reason"]


def test_a_recipe_that_mostly_fails_is_given_up(tmp_path):
    with pytest.raises(SampleError, match=r"samples of squares failed.*an impossible number"):
        make_store(Squares(impossible=tuple(range(100))), tmp_path / "s.h5", 2)
    assert not (tmp_path / "s.h5").exists()


def test_an_existing_store_is_reused_and_another_recipe_refused(tmp_path):
    path = tmp_path / "s.h5"
    make_store(Squares(), path, 1)
    written = path.stat().st_mtime_ns
    make_store(Squares(), path, 1)
    assert path.stat().st_mtime_ns == written
    with pytest.raises(StoreError, match=r"made with the recipe .*'samples': 6.*asked for"):
        make_store(Squares(samples=7), path, 1)


def test_a_store_that_was_appended_to_is_not_the_recipe_s(tmp_path):
    path = tmp_path / "s.h5"
    make_store(Squares(), path, 0)
    MeshStore.append(path, [Squares().sample(9)])
    with pytest.raises(StoreError, match="other graphs were appended"):
        make_store(Squares(), path, 0)


SCRIPT = """
from tests.simulate.test_make import Squares
from lrsa_geo.simulate import make_store
if __name__ == "__main__":
    make_store(Squares(samples=30, log={log!r}), {path!r}, 2)
"""


def test_a_killed_call_goes_on_where_it_stopped(tmp_path):
    path, log, script = tmp_path / "s.h5", tmp_path / "log", tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=str(path), log=str(log)))
    process = subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    parts = tmp_path / "s.h5.parts"
    while len(list(parts.glob("0*.pt"))) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    before = log.read_text().count("\n")
    assert 4 <= before < 30

    store = make_store(Squares(samples=30, log=str(log)), path, 2)
    assert [int(data.sample) for data in store] == list(range(30))
    assert log.read_text().count("\n") <= 30 + 2  # what the two killed workers had in hand


def test_parts_of_another_recipe_are_not_taken_over(tmp_path):
    parts = tmp_path / "s.h5.parts"
    parts.mkdir()
    (parts / "key").write_text("another")
    torch.save(Data(pos=torch.zeros(1, 1)).to_dict(), parts / "000000.pt")
    store = make_store(Squares(), tmp_path / "s.h5", 1)
    assert "y" in store.arrays


def test_unknown_recipe():
    with pytest.raises(
        ValueError,
        match=r"no recipe 'elastic', there are: airfoil, bracket3d, .*darcy, .*",
    ):
        recipe_class("elastic")


def test_a_number_of_processes_below_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`processes` is -1, expected 0 or more"):
        make_store(recipe_class("darcy")(samples=1), tmp_path / "s.h5", -1)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_full_disk_says_so_and_the_samples_made_so_far_wait(small_disk, processes):
    recipe = Squares(samples=150)
    with pytest.raises(StoreError, match=r"s\.h5: the disk is full, .* MB are free"):
        make_store(recipe, small_disk / "s.h5", processes)
    assert list(small_disk.glob("s.h5.parts/*.pt"))
    assert not (small_disk / "s.h5").exists()
    (small_disk / "ballast").unlink()
    some = Squares(samples=20)
    assert len(make_store(some, small_disk / "s.h5", processes)) == 20


def test_room_for_the_store_is_looked_at_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("lrsa_geo.data.output.free_bytes", lambda path: 1_000)
    with pytest.raises(StoreError, match=r"needs about \d+ MB while it is made"):
        make_store(Squares(samples=50), tmp_path / "s.h5", 0)
    assert len(list(tmp_path.glob("s.h5.parts/*.pt"))) == 50


# Shards, which machines make side by side


@pytest.mark.parametrize("of", [1, 3, 7])
def test_shards_joined_are_the_whole_sample_for_sample(tmp_path, of):
    recipe = Squares(samples=7)
    whole = make_store(recipe, tmp_path / "whole.h5", 0)
    for number in range(of, 0, -1):
        shard = Shard(number, of)
        make_store(recipe, shard.beside(tmp_path / "s.h5"), 0, shard)
    joined = open_store(tmp_path / f"s-*-of-{of}.h5")
    assert len(joined) == len(whole) == 7
    for found, expected in zip(joined, whole, strict=True):
        for array in whole.arrays:
            assert torch.equal(found[array], expected[array])
    assert joined.provenance["recipe"] == whole.provenance["recipe"]
    places = [shard["shard"] for shard in joined.provenance["shards"]]
    assert places == [{"number": number, "of": of} for number in range(1, of + 1)]


@given(samples=st.integers(1, 200), of=st.integers(1, 20), failures=st.integers(0, 9))
def test_no_sample_is_in_two_shards_whatever_fails(samples, of, failures):
    if samples < of:
        with pytest.raises(ValueError, match=f"{samples} samples are too few for {of} shards"):
            Shard(1, of).numbers(samples)
        return
    shards = [Shard(number, of) for number in range(1, of + 1)]
    made = [number for shard in shards for number in shard.numbers(samples)]
    assert made == list(range(samples))
    more = [shard.replacement(samples, n + 1) for shard in shards for n in range(failures)]
    assert sorted(more) == list(range(samples, samples + of * failures))
    assert [Shard(1, 1).replacement(samples, n) for n in (1, 2)] == [samples, samples + 1]


def test_failures_in_a_shard_are_replaced_by_samples_that_no_other_has(tmp_path):
    recipe = Squares(samples=20, impossible=(2, 13, 20))
    for number in (1, 2):
        make_store(recipe, tmp_path / f"{number}.h5", 0, Shard(number, 2))
    joined = open_store(tmp_path)
    samples = joined.read("sample").tolist()
    assert samples == [*range(2), *range(3, 10), 22, *range(10, 13), *range(14, 20), 21]


def test_a_shard_is_found_again_and_another_refused(tmp_path):
    path = tmp_path / "s.h5"
    make_store(Squares(), path, 0, Shard(1, 2))
    written = path.stat().st_mtime_ns
    make_store(Squares(), path, 0, Shard(1, 2))
    assert path.stat().st_mtime_ns == written
    for other, called in ((Shard(2, 2), "shard 2/2"), (None, "the whole")):
        with pytest.raises(StoreError, match=f"s.h5: is shard 1/2 of the recipe, .*{called};"):
            make_store(Squares(), path, 0, other)
    with pytest.warns(UserWarning, match="one store of 1 file, of which shard 2/2 is missing"):
        open_store(tmp_path)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match="expected I/K with I from 1 to K, such as 1/4"):
        Shard.parse(text)

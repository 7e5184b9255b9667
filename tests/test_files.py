"""Files that appear whole, made by one process or thread at a time."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lrsa_geo.files import atomic_path, one_at_a_time

ROOT = Path(__file__).parents[1]
RECIPE = """
import os, sys, time, torch
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from torch_geometric.data import Data
from lrsa_geo.mesh import Field
from lrsa_geo.simulate import make_store

@dataclass(frozen=True)
class Slow:
    name: ClassVar[str] = "slow"
    libraries: ClassVar[tuple] = ("numpy",)
    samples: int = 4
    fields = {"y": (Field("p"),)}
    def sample(self, i):
        time.sleep(0.2)
        Path(sys.argv[1], f"{i} of {os.getpid()}").touch()
        return Data(pos=torch.rand(4, 2), y=torch.rand(4, 1))

print(make_store(Slow(), sys.argv[1] + "/s.h5", 0).sha256)
"""
COLLECT = """
import sys
from pathlib import Path
from lrsa_geo.data import collect

files = sorted(Path(sys.argv[1]).glob("*.csv"))
store, _ = collect(files, sys.argv[1] + "/s.h5", targets=["p"], processes=0)
print(store.sha256)
"""


def two_at_once(script, folder):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in running]
    for process, (_, errors) in zip(running, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in outputs]


def test_two_processes_make_one_store(tmp_path):
    """As when every rank of a job asks for the data set."""
    one, other = two_at_once(RECIPE, tmp_path)
    assert one == other
    assert len(list(tmp_path.glob("* of *"))) == 4  # each sample once


def test_two_processes_collect_one_store(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.csv").write_text(f"x,y,p\n0,0,{number}\n1,0,2\n0,1,3\n")
    one, other = two_at_once(COLLECT, tmp_path)
    assert one == other
    assert not (tmp_path / "s.h5.parts").exists()


def test_threads_wait_for_each_other(tmp_path):
    inside, most = [], []

    def work(_):
        with one_at_a_time(tmp_path / "a.h5") as waited:
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()
            return waited

    with ThreadPoolExecutor(4) as pool:
        waited = list(pool.map(work, range(4)))
    assert most == [1] * 4
    assert sum(waited) >= 3


def test_an_error_inside_lets_the_next_one_in(tmp_path):
    with pytest.raises(RuntimeError), one_at_a_time(tmp_path / "a.h5"):
        raise RuntimeError
    with one_at_a_time(tmp_path / "a.h5") as waited:
        assert not waited


def test_threads_write_one_file(tmp_path):
    """The file is always one of those that were written, never a mixture."""
    path = tmp_path / "a.txt"

    def write(number):
        with atomic_path(path) as temporary, open(temporary, "w") as file:
            for _ in range(200):
                file.write(f"{number}\n")
        return set(path.read_text().split())

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(write, range(64)):
            assert len(found) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")  # 255 bytes
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"

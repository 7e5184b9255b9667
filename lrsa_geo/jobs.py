"""Process pools that make graphs: each is kept in a file of its own until all are done.

An interrupted call goes on where it stopped, and a process that dies (of a crash in a library, or
for want of memory) costs the graph it was making, not the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.files import atomic_path
from lrsa_geo.process import end_with_parent, keep_freed_memory


@contextmanager
def progress_bar(
    total: int, label: str, quiet_in_files: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar where tqdm is installed, nothing where it is not.

    Args:
        total: steps.
        label: in front of the bar.
        quiet_in_files: show it on terminals only.

    Yields:
        A function to be called with steps done, and steps that have come to the total.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda done, more: None
        return
    with tqdm(total=total, desc=label, disable=None if quiet_in_files else False) as bar:

        def advance(done: int, more: int) -> None:
            bar.total += more
            bar.update(done)

        yield advance


class SampleError(RuntimeError):
    """A graph cannot be made; the message says why."""


@dataclass(frozen=True)
class Failure:
    """A graph that was given up."""

    index: int
    reason: str


class Parts:
    """The folder of finished graphs beside the file that they will become.

    One process at a time may have it, see :func:`lrsa_geo.files.one_at_a_time`.

    Args:
        target: the file; the folder is ``<target>.parts``.
        making: what fixes the graphs, as JSON can hold it. Parts of another making are deleted.
    """

    def __init__(self, target: str | Path, making: Any) -> None:
        self.folder = Path(target).with_name(f"{Path(target).name}.parts")
        key = hashlib.sha256(json.dumps(making, sort_keys=True).encode()).hexdigest()
        key_file = self.folder / "key"
        if self.folder.exists() and (not key_file.exists() or key_file.read_text() != key):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        key_file.write_text(key)

    def path(self, index: int) -> Path:
        """Where graph ``index`` is kept."""
        return self.folder / f"{index:06d}.pt"

    def save(self, index: int, data: Data) -> None:
        """Keep a finished graph."""
        with atomic_path(self.path(index)) as temporary:
            torch.save(data.to_dict(), temporary)

    def load(self, index: int) -> Data:
        """A finished graph."""
        return Data.from_dict(torch.load(self.path(index), weights_only=True))

    def form(self, index: int) -> dict[str, tuple[np.dtype, list[int]]]:
        """Type and shape of each array of a finished graph, without reading the arrays."""
        arrays = torch.load(self.path(index), weights_only=True, mmap=True)
        return {
            name: (values.numpy().dtype, list(values.shape))
            for name, values in arrays.items()
            if isinstance(values, torch.Tensor)
        }

    def size(self) -> int:
        """Bytes of all that is kept, about what the file will take."""
        return sum(part.stat().st_size for part in self.folder.glob("*.pt"))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def make(
        self,
        make: Callable[[int], Data],
        indices: Iterable[int],
        on_failure: Callable[[Failure], Iterable[int]],
        label: str,
        processes: int | None = None,
    ) -> list[int]:
        """Make graphs, except those that are there already.

        Args:
            make: makes one, in another process; raises SampleError if it cannot.
            indices: which ones.
            on_failure: is told of each that failed and says which others to make in its place; what
                it raises ends the call.
            label: for the progress bar.
            processes: by default one per core; 0 for none but this one.

        Returns:
            The indices that were made, in order.

        Raises:
            ValueError: a number of processes below 0.
        """
        if processes is not None and processes < 0:
            raise ValueError(f"`processes` is {processes}, expected 0 or more")
        waiting = deque(indices)
        finished: list[int] = []
        job = _Job(make, self)
        with _one_thread_per_process(), progress_bar(len(waiting), label) as advance:

            def finish(outcome: int | Failure) -> None:
                if isinstance(outcome, Failure):
                    more = list(on_failure(outcome))
                    waiting.extend(more)
                    advance(1, len(more))
                else:
                    finished.append(outcome)
                    advance(1, 0)

            if processes == 0:
                while waiting:
                    finish(job(waiting.popleft()))
            while waiting:
                suspects = _work(job, waiting, processes or os.cpu_count() or 1, finish)
                for index in suspects:  # one of them ended its process; which one, each alone shows
                    if _work(job, deque([index]), 1, finish):
                        reason = "the process that made it died: a crash, or too little memory"
                        finish(Failure(index, reason))
        return sorted(finished)


@dataclass(frozen=True)
class _Job:
    """What a worker process is sent."""

    make: Callable[[int], Data]
    parts: Parts

    def __call__(self, index: int) -> int | Failure:
        if self.parts.path(index).exists():
            return index
        try:
            data = self.make(index)
        except SampleError as error:
            return Failure(index, str(error))
        self.parts.save(index, data)
        return index


_job: _Job | None = None  # of this worker process, sent once


def _do(index: int) -> int | Failure:
    assert _job is not None
    return _job(index)


@contextmanager
def _broken_pipes_raise() -> Iterator[None]:
    """A dead worker's pipe is an error to handle, not the end of this process.

    Python sees to that, but gmsh.initialize() undoes it for the whole process.
    """
    if hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGPIPE, before)
    else:
        yield


def _work(
    job: _Job, waiting: deque[int], processes: int, finish: Callable[[int | Failure], None]
) -> list[int]:
    """Empty the queue; if a process dies, stop and return what was under way then."""
    running: dict[Future[int | Failure], int] = {}
    with (
        _broken_pipes_raise(),
        ProcessPoolExecutor(
            processes, get_context("spawn"), initializer=_start_worker, initargs=(job,)
        ) as pool,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < processes:
                    running[pool.submit(_do, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = future.result()
                    del running[future]
                    finish(outcome)
        except BrokenProcessPool:
            return sorted(running.values())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return []


@contextmanager
def _one_thread_per_process() -> Iterator[None]:
    """Processes started inside use one thread each: together they already fill the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(job: _Job) -> None:
    """Set up a worker process; it ends with its parent, even if that is killed."""
    global _job
    _job = job
    keep_freed_memory()
    end_with_parent()

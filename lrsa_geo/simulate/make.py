"""Make the samples of a recipe in several processes and keep them in a MeshStore."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch_geometric.data import Data
from tqdm import tqdm

from lrsa_geo.data import Fields, MeshStore, StoreError, atomic_path
from lrsa_geo.process import keep_freed_memory

GIVE_UP_SHARE = 0.2  # more failures than this, of the samples asked for, and the recipe is at fault


class SampleError(RuntimeError):
    """A sample cannot be made; the message says why."""


class Recipe(Protocol):
    """A frozen dataclass that draws and solves numbered samples."""

    name: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]]

    @property
    def samples(self) -> int:
        """Number of samples of the data set."""

    @property
    def fields(self) -> dict[str, Fields]:
        """What the columns of the arrays are."""

    def sample(self, index: int) -> Data:
        """Make one sample; raises SampleError."""


@dataclass(frozen=True)
class Failure:
    """A sample that was given up."""

    index: int
    reason: str


def provenance(recipe: Recipe) -> dict[str, Any]:
    """What fixes the samples: the recipe with its seed, and the versions of the solvers."""
    return {
        "name": recipe.name,
        "recipe": asdict(recipe),  # type: ignore[call-overload]
        "libraries": {library: version(library) for library in recipe.libraries},
    }


def find_store(recipe: Recipe, path: str | Path) -> MeshStore | None:
    """The store at ``path`` if it holds the samples of this recipe, unharmed.

    Raises:
        StoreError: there is a file, but of another recipe, or its contents were changed.
    """
    if not Path(path).exists():
        return None
    store = MeshStore(path)
    wanted = json.loads(json.dumps(provenance(recipe)["recipe"]))
    if store.provenance.get("recipe") != wanted:
        raise StoreError(
            f"{path}: made with the recipe {store.provenance.get('recipe')}, asked for is {wanted};"
            " choose another file or delete this one"
        )
    store.verify()
    return store


def make_store(recipe: Recipe, path: str | Path, processes: int | None = None) -> MeshStore:
    """Make ``recipe.samples`` samples and write them to ``path``.

    A sample that fails is replaced by the next number, so the store holds the first
    ``recipe.samples`` that can be made, in order. Finished samples wait in ``<path>.parts/``: an
    interrupted call goes on where it stopped. An existing store of the same recipe is returned.

    Args:
        recipe: what to make.
        path: HDF5 file.
        processes: worker processes, by default one per core.

    Raises:
        SampleError: more than a fifth of the samples failed.
        BrokenProcessPool: a worker process died, for want of memory or by a crash of a solver.
        StoreError: ``path`` holds something else.
    """
    store = find_store(recipe, path)
    if store is not None:
        return store
    parts = Path(path).with_name(f"{Path(path).name}.parts")
    _prepare_parts(parts, recipe)
    done = _make_parts(recipe, parts, processes or os.cpu_count() or 1)
    failures = [outcome for outcome in done if isinstance(outcome, Failure)]
    made = [outcome for outcome in done if isinstance(outcome, Path)][: recipe.samples]
    about = provenance(recipe) | {"failures": [asdict(failure) for failure in failures]}
    store = MeshStore.write(path, map(_load_part, made), recipe.fields, about)
    shutil.rmtree(parts)
    if failures:
        reasons = Counter(failure.reason for failure in failures)
        print(f"{len(failures)} samples were given up and replaced: {dict(reasons)}")
    return store


def _prepare_parts(parts: Path, recipe: Recipe) -> None:
    """Keep the finished samples of an interrupted call only if they are of the same making."""
    key = hashlib.sha256(
        # `samples` does not change a sample: a longer run may go on from a shorter one.
        json.dumps(_without_samples(provenance(recipe)), sort_keys=True).encode()
    ).hexdigest()
    key_file = parts / "key"
    if parts.exists() and (not key_file.exists() or key_file.read_text() != key):
        shutil.rmtree(parts)
    parts.mkdir(parents=True, exist_ok=True)
    key_file.write_text(key)


def _without_samples(about: dict[str, Any]) -> dict[str, Any]:
    return about | {"recipe": {k: v for k, v in about["recipe"].items() if k != "samples"}}


def _make_parts(recipe: Recipe, parts: Path, processes: int) -> list[Path | Failure]:
    """Outcomes in the order of the sample numbers; at least ``recipe.samples`` are paths."""
    outcomes: dict[int, Path | Failure] = {}
    num_failed = 0
    with (
        _one_thread_per_process(),
        ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_start_worker
        ) as pool,
        tqdm(total=recipe.samples, desc=f"making {recipe.name}", unit="sample") as progress,
    ):
        running: set[Future[Path | Failure]] = {
            pool.submit(_make_part, recipe, index, parts) for index in range(recipe.samples)
        }
        try:
            while running:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    outcome = future.result()
                    if isinstance(outcome, Path):
                        outcomes[int(outcome.stem)] = outcome
                        progress.update()
                        continue
                    outcomes[outcome.index] = outcome
                    replacement = recipe.samples + num_failed
                    running.add(pool.submit(_make_part, recipe, replacement, parts))
                    num_failed += 1
                    if num_failed > GIVE_UP_SHARE * recipe.samples:
                        raise SampleError(
                            f"{num_failed} samples of {recipe.name} failed, the last (number"
                            f" {outcome.index}) because: {outcome.reason}"
                        )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [outcomes[index] for index in sorted(outcomes)]


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


def _start_worker() -> None:
    """Set up a worker process; it ends with its parent, even if that is killed."""
    keep_freed_memory()
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _make_part(recipe: Recipe, index: int, parts: Path) -> Path | Failure:
    """One sample, made in a worker and kept in a file of its own."""
    path = parts / f"{index:06d}.pt"
    if path.exists():
        return path
    try:
        data = recipe.sample(index)
    except SampleError as error:
        return Failure(index, str(error))
    with atomic_path(path) as temporary:
        torch.save(data.to_dict(), temporary)
    return path


def _load_part(path: Path) -> Data:
    return Data.from_dict(torch.load(path, weights_only=True))

"""Make the samples of a recipe in several processes and keep them in a MeshStore."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, StoreError, check_space, full_disk_explained
from lrsa_geo.files import one_at_a_time
from lrsa_geo.jobs import Failure, Parts, SampleError
from lrsa_geo.mesh import Fields

GIVE_UP_SHARE = 0.2  # more failures than this, of the samples asked for, and the recipe is at fault

_SMALL = 1 << 17  # bytes: so little room is none for a sample


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
    if store.provenance.get("appended"):
        raise StoreError(f"{path}: other graphs were appended to it; choose another file")
    store.verify()
    return store


def make_store(recipe: Recipe, path: str | Path, processes: int | None = None) -> MeshStore:
    """Make ``recipe.samples`` samples and write them to ``path``.

    A sample that fails is replaced by the next number, so the store holds the first
    ``recipe.samples`` that can be made, in order. Finished samples wait in ``<path>.parts/``: an
    interrupted call goes on where it stopped. An existing store of the same recipe is returned; if
    another process is making it, this one waits for it.

    Args:
        recipe: what to make.
        path: HDF5 file.
        processes: worker processes, by default one per core; 0 for none but this one.

    Raises:
        SampleError: more than a fifth of the samples failed.
        StoreError: ``path`` holds something else, or the disk is full.
    """
    store = find_store(recipe, path)
    if store is None:
        with one_at_a_time(path):
            store = find_store(recipe, path)  # which another process may have made meanwhile
            if store is None:
                with full_disk_explained(path, graph_size=_SMALL):
                    store = _make_store(recipe, path, processes)
    return store


def _make_store(recipe: Recipe, path: str | Path, processes: int | None) -> MeshStore:
    about = provenance(recipe)
    # `samples` does not change a sample: a longer run may go on from a shorter one.
    settings = {key: value for key, value in about["recipe"].items() if key != "samples"}
    parts = Parts(path, about | {"recipe": settings})
    failures: list[Failure] = []

    def replace(failure: Failure) -> Iterable[int]:
        failures.append(failure)
        if len(failures) > GIVE_UP_SHARE * recipe.samples:
            raise SampleError(
                f"{len(failures)} samples of {recipe.name} failed, the last (number"
                f" {failure.index}) because: {failure.reason}"
            )
        return [recipe.samples + len(failures) - 1]

    label = f"making {recipe.name}"
    made = parts.make(recipe.sample, range(recipe.samples), replace, label, processes)
    about["failures"] = [asdict(failure) for failure in failures]
    forms = list(map(parts.form, made))
    check_space(path, parts.size())
    graphs = map(parts.load, made)
    store = MeshStore.write(path, graphs, recipe.fields, about, forms=forms)
    parts.remove()
    if failures:
        reasons = Counter(failure.reason for failure in failures)
        print(f"{len(failures)} samples were given up and replaced: {dict(reasons)}")
    return store

"""Make the samples of a recipe in several processes and keep them in a MeshStore."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Shard:
    """One of the files that several machines make side by side, without knowing of each other.

    The samples of a recipe are cut into ``of`` ranges of their numbers, so that the shards in order
    hold what one file would. A sample that fails is replaced by a number behind the last one that
    no other shard takes: ``samples - 1 + number``, then every ``of``-th after it.

    Args:
        number: 1 to ``of``.
        of: how many there are.

    Raises:
        ValueError: there is no such shard.

    Examples:
        >>> from lrsa_geo.simulate import Shard
        >>> [list(Shard(i, 3).numbers(8)) for i in (1, 2, 3)]
        [[0, 1], [2, 3, 4], [5, 6, 7]]
        >>> str(Shard.parse("2/3").beside("cells.h5"))
        'cells-2-of-3.h5'
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(
                f"shard {self.number}/{self.of}: expected I/K with I from 1 to K, such as 1/4"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """That of ``"I/K"``."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise ValueError(f"--shard is '{text}', expected I/K with I from 1 to K, such as 1/4")
        return cls(int(match[1]), int(match[2]))

    def beside(self, path: str | Path) -> Path:
        """The name of this shard, of the name that the whole would have."""
        path = Path(path)
        return path.with_stem(f"{path.stem}-{self.number}-of-{self.of}")

    def numbers(self, samples: int) -> range:
        """The samples that it has if none fails.

        Raises:
            ValueError: there are fewer samples than shards.
        """
        if samples < self.of:
            raise ValueError(f"{samples} samples are too few for {self.of} shards")
        return range((self.number - 1) * samples // self.of, self.number * samples // self.of)

    def replacement(self, samples: int, failures: int) -> int:
        """The sample that stands in for the last of so many that failed."""
        return samples + self.number - 1 + (failures - 1) * self.of


WHOLE = Shard(1, 1)


def find_store(recipe: Recipe, path: str | Path, shard: Shard | None = None) -> MeshStore | None:
    """The store at ``path`` if it holds the samples of this recipe, or shard of it, unharmed.

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
    asked = None if shard is None else asdict(shard)
    if (found := store.provenance.get("shard")) != asked:
        raise StoreError(
            f"{path}: is {_called(found)} of the recipe, asked for is {_called(asked)}; choose"
            " another file or delete this one"
        )
    if store.provenance.get("appended"):
        raise StoreError(f"{path}: other graphs were appended to it; choose another file")
    store.verify()
    return store


def _called(shard: dict[str, int] | None) -> str:
    return "the whole" if shard is None else f"shard {shard['number']}/{shard['of']}"


def make_store(
    recipe: Recipe, path: str | Path, processes: int | None = None, shard: Shard | None = None
) -> MeshStore:
    """Make ``recipe.samples`` samples and write them to ``path``.

    A sample that fails is replaced by the next number, so the store holds the first
    ``recipe.samples`` that can be made, in order. Finished samples wait in ``<path>.parts/``: an
    interrupted call goes on where it stopped. An existing store of the same recipe is returned; if
    another process is making it, this one waits for it.

    Args:
        recipe: what to make.
        path: HDF5 file.
        processes: worker processes, by default one per core; 0 for none but this one.
        shard: make this part of the samples alone, see :class:`Shard`; others are made elsewhere.
            :func:`lrsa_geo.data.open_store` reads them as one store.

    Raises:
        SampleError: more than a fifth of the samples failed.
        StoreError: ``path`` holds something else, or the disk is full.
    """
    store = find_store(recipe, path, shard)
    if store is None:
        with one_at_a_time(path):
            store = find_store(recipe, path, shard)  # perhaps another process made it meanwhile
            if store is None:
                with full_disk_explained(path, graph_size=_SMALL):
                    store = _make_store(recipe, path, processes, shard)
    return store


def _make_store(
    recipe: Recipe, path: str | Path, processes: int | None, shard: Shard | None
) -> MeshStore:
    about = provenance(recipe)
    part = shard or WHOLE
    numbers = part.numbers(recipe.samples)
    # `samples` does not change a sample: a longer run may go on from a shorter one.
    settings = {key: value for key, value in about["recipe"].items() if key != "samples"}
    parts = Parts(path, about | {"recipe": settings})
    failures: list[Failure] = []

    def replace(failure: Failure) -> Iterable[int]:
        failures.append(failure)
        if len(failures) > GIVE_UP_SHARE * len(numbers):
            raise SampleError(
                f"{len(failures)} samples of {recipe.name} failed, the last (number"
                f" {failure.index}) because: {failure.reason}"
            )
        return [part.replacement(recipe.samples, len(failures))]

    label = f"making {recipe.name}"
    made = parts.make(recipe.sample, numbers, replace, label, processes)
    about["failures"] = [asdict(failure) for failure in failures]
    if shard is not None:
        about["shard"] = asdict(shard)
    forms = list(map(parts.form, made))
    check_space(path, parts.size())
    graphs = map(parts.load, made)
    store = MeshStore.write(path, graphs, recipe.fields, about, forms=forms)
    parts.remove()
    if failures:
        reasons = Counter(failure.reason for failure in failures)
        print(f"{len(failures)} samples were given up and replaced: {dict(reasons)}")
    return store

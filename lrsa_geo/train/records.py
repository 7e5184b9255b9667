"""Names of files, contents of configurations, figures and JSON, as a run keeps them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lrsa_geo.files import atomic_path
from lrsa_geo.train.config import TrainConfig

_MAX_BYTES = 100  # of a name that is cut


def file_stems(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Another name of a file for each name, whatever signs it has.

    Signs that are no letters become ``_`` and long names are cut; where two would be the same file
    on some system, or one of those that are taken, they are numbered.

    Examples:
        >>> from lrsa_geo.train.records import file_stems
        >>> file_stems(["p", "P", "../x", "loss"], taken=["loss"])
        {'p': 'p', 'P': 'P-2', '../x': '_x', 'loss': 'loss-2'}
    """
    used, stems = {stem.casefold() for stem in taken}, {}
    for name in names:
        letters = re.sub(r"[^\w-]+", "_", name).encode()[:_MAX_BYTES].decode(errors="ignore")
        numbered = (f"{letters}-{number}" for number in itertools.count(2))
        stems[name] = next(
            stem for stem in itertools.chain([letters], numbered) if stem.casefold() not in used
        )
        used.add(stems[name].casefold())
    return stems


def changes(before: TrainConfig, after: TrainConfig, but: tuple[str, ...]) -> list[str]:
    """A clause for each value that differs, except those whose dotted names begin with ``but``."""
    old, new = _flat(before), _flat(after)
    return [
        f"{key} was {old.get(key)} and is {new.get(key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and not key.startswith(but)
    ]


def _flat(config: TrainConfig) -> dict[str, Any]:
    """Values by their dotted names."""

    def walk(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(dataclasses.asdict(config), ""))


def summary_of(errors: np.ndarray) -> dict[str, Any]:
    """Figures of a field's errors; graphs without a truth have NaN and do not count."""
    known = errors[~np.isnan(errors)] if np.isfinite(errors).any() else errors
    return {
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "worst": float(known.max()),
        "per_mesh": [float(f"{e:.6g}") for e in errors],
    }


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write a JSON file that appears complete or not at all; numbers that are none become null."""
    with atomic_path(path) as temporary:
        text = json.dumps(_without_nan(values), indent=1, allow_nan=False)
        temporary.write_text(text + "\n")


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _without_nan(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values

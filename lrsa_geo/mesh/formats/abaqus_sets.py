"""Node sets of Abaqus and CalculiX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_MOST = 10**8  # numbers in a range
Sets = dict[str, np.ndarray]  # name, as it is first written -> numbers of nodes


def add_set(
    options: Mapping[str, str],
    data: list[str],
    sets: Sets,
    of_instances: Mapping[str, Sets],
) -> None:
    """Take one *NSET: numbers, ranges, names of other sets, nodes of instances (``A-1.7``).

    Args:
        options: of the keyword.
        data: its lines.
        sets: of the part or deck that it stands in; where it names no instance it is added there.
        of_instances: the sets of each instance by its name in capitals; those of an assembly's set
            are added there.

    What it names and the deck has not, such as the nodes of an element set, adds nothing. Sets
    whose name begins with an underscore are the program's own.
    """
    name = options.get("NSET", "")
    if not name or name.startswith("_"):
        return
    instance = options.get("INSTANCE", "").upper()
    here = of_instances.get(instance, {}) if instance else sets
    if "ELSET" in options:
        return
    if "GENERATE" in options:
        for line in data:
            first, last, *step = (int(n) for n in line.split(",") if n.strip())
            if last - first > _MOST:
                raise ValueError(f"set '{name}' is generated from {first} to {last}")
            join(here, name, np.arange(first, last + 1, step[0] if step else 1))
        return
    for entry in (entry.strip().strip('"') for line in data for entry in line.split(",")):
        owner, _, rest = entry.rpartition(".")
        target = of_instances.get(owner.upper(), {}) if owner else here
        word = rest if owner else entry
        if word.isdigit():
            join(target, name, np.array([int(word)]))
        elif word and (known := _spelled(target, word)) in target:
            join(target, name, target[known])
        elif word:  # a set of the assembly, of nodes of several instances
            for others in of_instances.values():
                if (known := _spelled(others, word)) in others:
                    join(others, name, others[known])


def join(sets: Sets, name: str, numbers: np.ndarray) -> None:
    """Add nodes to a set, in whatever capitals it is named."""
    known = _spelled(sets, name)
    sets[known] = np.union1d(sets.get(known, np.empty(0, dtype=np.int64)), numbers)


def _spelled(sets: Sets, name: str) -> str:
    return next((known for known in sets if known.upper() == name.upper()), name)

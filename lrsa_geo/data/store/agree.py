"""What the shards of a store must have in common, and what they must not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lrsa_geo.data.store.format import StoreError
from lrsa_geo.data.store.store import MeshStore

REMEDY = "make them in the same way, or keep them as two stores"


def check_alike(one: MeshStore, other: MeshStore) -> None:
    """Refuse two shards whose graphs cannot be batched, or do not mean the same.

    Raises:
        StoreError: the message names both files and the first thing that differs.
    """
    difference = next(_differences(one, other), None)
    if difference is not None:
        raise StoreError(
            f"{other.path} and {one.path} cannot be read as one store: {difference}; {REMEDY}"
        )


def _differences(one: MeshStore, other: MeshStore) -> Iterator[str]:
    """Clauses about the second store, in which the first follows."""
    if one.is_series != other.is_series:
        yield "of one the graphs are series, of the other they are not"
    for array in sorted({*one.arrays} ^ {*other.arrays}):
        has, lacks = (one, other) if array in one.arrays else (other, one)
        yield f"{has.path} has the array '{array}', {lacks.path} has none"
    for array in one.arrays:
        yield from _of_fields(array, one, other)
        if one._rows[array] != other._rows[array]:
            here, there = (f"{t}{list(s)}" for t, s in (other._rows[array], one._rows[array]))
            yield f"'{array}' has rows {here}, in the other file {there}"
    settings, others = (s.provenance.get("reader") or {} for s in (one, other))
    for key in sorted({*settings} | {*others}):
        if settings.get(key) != others.get(key):
            yield (
                f"their meshes were read with {key} = {others.get(key)} and {settings.get(key)},"
                " and new meshes can be read in one way alone"
            )


def _of_fields(array: str, one: MeshStore, other: MeshStore) -> Iterator[str]:
    known, found = (store.fields.get(array, ()) for store in (one, other))
    if known == found:
        return
    names, others = ([f.name for f in fields] for fields in (known, found))
    if names != others:
        here, there = ", ".join(others), ", ".join(names)
        yield f"the fields of '{array}' are {here}, in the other file {there}"
    for mine, its in zip(known, found, strict=False):
        if mine.unit != its.unit:
            yield f"'{its.name}' of '{array}' is in {its.unit}, in the other file in {mine.unit}"
        if mine != its:
            yield (
                f"'{its.name}' of '{array}' has the components {list(its.components)}, in the other"
                f" file {list(mine.components)}"
            )


def check_no_graph_twice(shards: Sequence[MeshStore]) -> None:
    """Refuse shards that hold the same graphs: copies, or one sample of a recipe in two of them.

    Raises:
        StoreError: the message names both files, and the sample.
    """
    seen: dict[str, MeshStore] = {}
    recipes: dict[str, list[MeshStore]] = defaultdict(list)
    for shard in shards:
        if (same := seen.setdefault(shard.sha256, shard)) is not shard:
            raise StoreError(
                f"{shard.path} and {same.path} have the same contents, so that every graph would be"
                " there twice; leave one of them out"
            )
        if (recipe := recipe_of(shard)) is not None and "sample" in shard.arrays:
            recipes[recipe].append(shard)
    for group in recipes.values():
        if len(group) > 1:
            _check_samples(group)


def _check_samples(shards: list[MeshStore]) -> None:
    """Refuse a sample number that is in two shards of one recipe."""
    numbers = [shard.read("sample").reshape(-1) for shard in shards]
    for shard in shards:
        shard.close()
    samples = np.concatenate(numbers)
    where = np.repeat(np.arange(len(shards)), [len(part) for part in numbers])
    order = np.argsort(samples, kind="stable")
    again = np.flatnonzero(samples[order][1:] == samples[order][:-1])
    if len(again):
        first, second = order[again[0]], order[again[0] + 1]
        one, other = shards[where[first]].path, shards[where[second]].path
        what = f"sample {samples[first]} of the recipe"
        raise StoreError(
            f"{one}: has {what} twice"
            if one == other
            else f"{one} and {other} both have {what} they were made by; leave one of them out, or"
            " make one with another seed or another --shard"
        )


def recipe_of(shard: MeshStore) -> str | None:
    """What fixes the samples of a shard, whichever it has; None if no recipe made it."""
    recipe: dict[str, Any] | None = shard.provenance.get("recipe")
    if not isinstance(recipe, dict):
        return None
    settings = {key: value for key, value in recipe.items() if key != "samples"}
    return json.dumps([shard.provenance.get("name"), settings], sort_keys=True)

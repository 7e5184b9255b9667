"""Augmentation: transforms of training graphs by name, and mirror images."""

from __future__ import annotations

import difflib
import inspect
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import torch
import torch_geometric.transforms
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

import lrsa_geo.mesh
from lrsa_geo.mesh import Axis, Fields, mirrored
from lrsa_geo.mesh.augment import AXES


class Mirror(BaseTransform):
    """Mirror images in the symmetry planes of a problem.

    Where domain and physics are symmetric, the image of a solution is as good as the solution. A
    :class:`StoreDataset` counts every graph once more with its image in each plane and in each
    combination of planes; called on a graph alone it is one of its images, drawn at random.

    Args:
        planes: axis and position of each plane, such as ``{"x": 0.5}``.
        fields: columns of ``x``, ``y`` and ``cond``, as of a MeshStore.

    Raises:
        ValueError: there is no plane, or no such axis.
    """

    def __init__(self, planes: Mapping[Axis, float], fields: dict[str, Fields]) -> None:
        if not planes or not set(planes) <= set(AXES):
            raise ValueError(f"planes are {dict(planes)}, expected positions of {', '.join(AXES)}")
        self.planes = dict(planes)
        self.fields = fields

    @property
    def num_images(self) -> int:
        """Images of a graph, itself included."""
        return 1 << len(self.planes)

    def image(self, data: Data, number: int) -> Data:
        """Image ``number``, whose bits choose the planes; 0 is the graph itself."""
        for bit, (axis, position) in enumerate(self.planes.items()):
            if number >> bit & 1:
                if AXES.index(axis) >= data.pos.shape[1]:
                    raise ValueError(
                        f"a graph in {data.pos.shape[1]} dimensions has no axis {axis}"
                    )
                data = mirrored(data, axis, position, self.fields)
        return data

    def forward(self, data: Data) -> Data:
        """One of the images."""
        return self.image(data, int(torch.randint(self.num_images, ())))

    def __repr__(self) -> str:
        return f"Mirror({self.planes})"


class Images:
    """The images that a transform makes of a graph, apart from what it does at random.

    Args:
        transform: any transform. Those with ``num_images`` and ``image(data, number)``, alone or
            in a ``Compose``, are taken out of it and come first.

    Attributes:
        count: images of each graph.
        rest: what is left of the transform.
    """

    def __init__(self, transform: Any | None) -> None:
        steps: list[Any] = transform.transforms if isinstance(transform, Compose) else [transform]
        self._makers = [step for step in steps if hasattr(step, "num_images")]
        others = [step for step in steps if step is not None and not hasattr(step, "num_images")]
        self.count = prod(maker.num_images for maker in self._makers)
        self.rest = Compose(others) if len(others) > 1 else next(iter(others), None)

    def __call__(self, data: Data, number: int) -> Data:
        """Image ``number`` of a graph."""
        for maker in self._makers:
            number, of_maker = divmod(number, maker.num_images)
            data = maker.image(data, of_maker)
        return data


def transform_of(
    entries: Iterable[Mapping[str, Any] | BaseTransform], fields: dict[str, Fields]
) -> BaseTransform | None:
    """The transforms of a configuration, such as ``[{name: RandomRotation, axis: z}]``.

    Args:
        entries: name and arguments of each: :class:`Mirror`, a transform of ``lrsa_geo.mesh`` or
            one of ``torch_geometric.transforms``; or a transform itself.
        fields: given to those that ask for it.

    Raises:
        ValueError: there is no such transform, or it does not take such arguments.
    """
    steps = [
        entry if isinstance(entry, BaseTransform) else _transform(dict(entry), fields)
        for entry in entries
    ]
    return Compose(steps) if len(steps) > 1 else next(iter(steps), None)


def _transform(arguments: dict[str, Any], fields: dict[str, Fields]) -> BaseTransform:
    known = {
        name: member
        for room in (torch_geometric.transforms, lrsa_geo.mesh)  # ours before PyG's
        for name, member in vars(room).items()
        if inspect.isclass(member) and issubclass(member, BaseTransform)
    } | {"Mirror": Mirror}
    name = str(arguments.pop("name", None))
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise ValueError(
            f"data.augment: there is no transform '{name}' in lrsa_geo.mesh or"
            " torch_geometric.transforms" + (f"; did you mean '{near[0]}'?" if near else "")
        )
    takes = inspect.signature(known[name]).parameters
    if "fields" in takes:
        arguments["fields"] = fields
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as error:
        expected = ", ".join(key for key in takes if key not in ("fields", "generator"))
        raise ValueError(f"data.augment: {name}({expected}): {error}") from error


@contextmanager
def random_numbers(*seed: int) -> Iterator[None]:
    """Random numbers of torch (on the CPU), numpy and Python from a seed; then those of before."""
    mixed = np.random.SeedSequence(seed).generate_state(3)
    generator = torch.default_generator  # that of the CPU: `torch.manual_seed` moves GPUs', too
    old = np.random.get_state()  # noqa: NPY002 (transforms of PyG use the global one)
    before = generator.get_state(), random.getstate()
    generator.manual_seed(int(mixed[0]))
    np.random.seed(int(mixed[1]))  # noqa: NPY002
    random.seed(int(mixed[2]))
    try:
        yield
    finally:
        generator.set_state(before[0])
        random.setstate(before[1])
        np.random.set_state(old)  # noqa: NPY002

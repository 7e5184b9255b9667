"""Published data sets from the files as users have them; see ``datasets/published/README.md``."""

from __future__ import annotations

from pathlib import Path

from lrsa_geo.data.datasets.airfrans import AirfRANS
from lrsa_geo.data.datasets.arrays import PublishedFileError, read_mat
from lrsa_geo.data.datasets.base import PublishedSet
from lrsa_geo.data.datasets.fno import Darcy, NavierStokes
from lrsa_geo.data.datasets.geofno import Airfoil, Elasticity, Pipe, Plasticity
from lrsa_geo.data.datasets.norm import COMPOSITE, IRREGULAR_DARCY, TURBULENCE, HeatTransfer
from lrsa_geo.data.datasets.shapenet_car import ShapeNetCar
from lrsa_geo.data.store import MeshStore

__all__ = ["PUBLISHED", "PublishedFileError", "PublishedSet", "convert_published", "read_mat"]

PUBLISHED: dict[str, PublishedSet] = {
    published.card.name: published
    for published in (
        Elasticity(),
        Airfoil(),
        Pipe(),
        Plasticity(),
        Darcy(),
        NavierStokes(),
        IRREGULAR_DARCY,
        TURBULENCE,
        HeatTransfer(),
        COMPOSITE,
        AirfRANS(),
        ShapeNetCar(),
    )
}
"""The published data sets by name."""


def convert_published(
    name: str, folder: str | Path, output: str | Path, val_share: float = 0.05
) -> MeshStore:
    """Read a published data set and write it as a MeshStore, with its split beside it.

    See :meth:`PublishedSet.convert` for the arguments, the order of the graphs and the split.

    Args:
        name: key of ``PUBLISHED``.
        folder: where the published files are.
        output: MeshStore (.h5); its split becomes ``output.with_suffix(".split.json")``.
        val_share: share of the training graphs, from their end, for validation.

    Raises:
        PublishedFileError: a file is missing or is not the published one.
        ValueError: no such name, or ``val_share`` leaves nothing to train on.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published data set '{name}', expected one of {sorted(PUBLISHED)}")
    return PUBLISHED[name].convert(folder, output, val_share)

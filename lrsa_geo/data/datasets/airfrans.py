"""AirfRANS (arXiv 2212.07564): incompressible flow around profiles, from the raw folders."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.datasets.arrays import PublishedFileError, find_file
from lrsa_geo.data.datasets.base import Card, Cases, PublishedSet, floats
from lrsa_geo.mesh.fields import Field, Fields
from lrsa_geo.mesh.read import read_mesh

_TASKS = ("scarce", "reynolds", "aoa")  # besides "full"
_TOLERANCE = 1e-5  # of the chord, 1 m: nodes of the profile are nodes of the mesh


@dataclass(frozen=True)
class AirfRANS(PublishedSet):
    """Position, inflow, distance, normal -> velocity, pressure, turbulent viscosity.

    Files: ``manifest.json``, and for each case ``NAME/NAME_internal.vtu`` (node fields ``U``,
    ``p``, ``nut``, ``implicit_distance``) and ``NAME/NAME_aerofoil.vtp`` (``Normals``). NAME is
    ``airFoil2D_SST_<speed>_<angle of attack in degrees>_<shape...>``.

    The store holds the cases of task "full"; the splits of the tasks "scarce", "reynolds" and "aoa"
    are written beside it.
    """

    train: int = 800
    test: int = 200

    card: Card = Card(
        "airfrans",
        (
            "https://data.isir.upmc.fr/extrality/NeurIPS_2022/Dataset.zip"
            " (linked in github.com/Extrality/AirfRANS)"
        ),
        (
            "published tables are the mean squared error of z-scored targets, not relative L2",
            "others take the nodes of zero velocity for the profile; here they are those where the"
            " profile's nodes are",
        ),
    )

    @property
    def fields(self) -> dict[str, Fields]:
        """``cond``: inflow; ``x``: distance and normal of the profile; ``y``: the flow."""
        return {
            "x": (Field("distance", "m"), Field("normal", "1", ("x", "y"))),
            "y": (
                Field("velocity", "m/s", ("x", "y")),
                Field("pressure", "m^2/s^2"),
                Field("turbulent_viscosity", "m^2/s"),
            ),
            "cond": (Field("inflow", "m/s", ("x", "y")),),
        }

    @property
    def split_rule(self) -> str:
        """The manifest's lists."""
        return "full_train and full_test of manifest.json; the other tasks have files of their own"

    def open(self, folder: Path) -> Cases:
        """See :meth:`PublishedSet.open`."""
        manifest_path = find_file(folder, "Dataset/manifest.json", self.card.source)
        manifest = _read_manifest(manifest_path)
        root = manifest_path.parent
        names = [*manifest["full_train"], *manifest["full_test"]]
        found = len(manifest["full_train"]), len(manifest["full_test"])
        if found != (self.train, self.test) or len(set(names)) != len(names):
            raise PublishedFileError(
                f"{manifest_path}: lists {found} cases of full_train and full_test, expected"
                f" {(self.train, self.test)}, all different; it is not the published file"
            )
        files = [manifest_path]
        for name in names:
            for part in ("internal.vtu", "aerofoil.vtp"):
                files.append(find_file(root, f"{name}/{name}_{part}", self.card.source))
        number = {name: case for case, name in enumerate(names)}
        tasks = {}
        for task in _TASKS:
            if f"{task}_train" not in manifest:
                continue
            train = manifest[f"{task}_train"]
            # The manifest has no scarce_test: that task is tested on full_test.
            test = manifest.get(f"{task}_test", manifest["full_test"])
            unknown = [name for name in (*train, *test) if name not in number]
            if unknown:
                raise PublishedFileError(
                    f"{manifest_path}: task '{task}' has the case '{unknown[0]}', which full_train"
                    " and full_test lack; it is not the published file"
                )
            tasks[task] = ([number[name] for name in train], [number[name] for name in test])
        return Cases(
            [*range(self.train)],
            [*range(self.train, len(names))],
            lambda case: _graph(root, names[case]),
            files,
            tasks,
            {"cases": names},
        )


def _read_manifest(path: Path) -> dict[str, list[str]]:
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PublishedFileError(f"{path}: not JSON ({error}); download it again") from error
    lists = manifest if isinstance(manifest, dict) else {}
    for key in ("full_train", "full_test", *lists):
        names = lists.get(key)
        if not isinstance(names, list) or not all(_is_case(name) for name in names):
            raise PublishedFileError(
                f"{path}: '{key}' is no list of names airFoil2D_SST_<speed>_<angle>_<shape...>;"
                " it is not the published file"
            )
    return lists


def _is_case(name: Any) -> bool:
    """Whether it is a case's name, and so also a plain name of a folder."""
    try:
        _inflow(name)
    except (AttributeError, IndexError, ValueError):
        return False
    return Path(name).name == name


def _inflow(name: str) -> Tensor:
    """Velocity far away, ``[1, 2]`` m/s, from the name of a case."""
    speed, angle = (float(part) for part in name.split("_")[2:4])
    angle = math.radians(angle)
    return torch.tensor([[speed * math.cos(angle), speed * math.sin(angle)]])


def _graph(root: Path, name: str) -> Data:
    path = root / name / f"{name}_internal.vtu"
    mesh, profile_path = read_mesh(path), root / name / f"{name}_aerofoil.vtp"
    profile = read_mesh(profile_path)
    pos = mesh.pos[:, :2]
    velocity = _node_field(path, mesh, "U", 2)
    pressure = _node_field(path, mesh, "p", 1)
    viscosity = _node_field(path, mesh, "nut", 1)
    distance = -_node_field(path, mesh, "implicit_distance", 1)
    gap, node = cKDTree(pos.numpy()).query(profile.pos[:, :2].numpy())
    if gap.max() > _TOLERANCE:
        raise PublishedFileError(
            f"{profile_path}: has a node {gap.max():.2g} m away from all nodes of {path.name},"
            f" expected within {_TOLERANCE} m; download both again"
        )
    normal = torch.zeros(len(pos), 2)
    normal[node] = -_node_field(profile_path, profile, "Normals", 2)
    boundary = torch.zeros(len(pos), dtype=torch.int8)
    boundary[node] = 1
    return Data(
        pos=pos.float(),
        x=torch.cat([distance, normal], 1),
        y=torch.cat([velocity, pressure, viscosity], 1),
        cond=_inflow(name),
        boundary=boundary,
        cells=mesh.cells,
        cell_types=mesh.cell_types,
    )


def _node_field(path: Path, mesh: Data, name: str, width: int) -> Tensor:
    """The first ``width`` components of a node field, ``[N, width]``."""
    values = mesh.point_data.get(name)
    if values is None:
        raise PublishedFileError(
            f"{path}: has the node fields {sorted(mesh.point_data)}, expected '{name}' too;"
            " it is not the published file"
        )
    rows = values.reshape(len(values), -1)[:, :width]
    if rows.shape[1] != width:
        raise PublishedFileError(
            f"{path}: node field '{name}' has shape {list(values.shape)}, expected"
            f" [{len(values)}, >={width}]; it is not the published file"
        )
    return floats(np.asarray(rows))

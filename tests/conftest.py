"""Real data that several tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from lrsa_geo.data import MeshStore
from lrsa_geo.simulate import make_store, recipe_class

torch.set_num_threads(1)
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: notebooks and commands, too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("fuzz", max_examples=10_000)


@pytest.fixture(scope="session")
def cells_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 24 solved unit cells of about 200 to 400 nodes."""
    recipe = recipe_class("elasticity")(samples=24, min_nodes=150, max_nodes=350)
    return make_store(recipe, tmp_path_factory.mktemp("cells") / "cells.h5", 2).path


@pytest.fixture
def cells(cells_file: Path) -> MeshStore:
    return MeshStore(cells_file)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB with 480 kB of ballast, where this process may make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted")
    try:
        (folder / "ballast").write_bytes(bytes(480_000))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)

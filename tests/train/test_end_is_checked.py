"""No training ends in an error after its last step, and nothing half-written is left.

Kinds of fault: test graphs that cannot be scored; a full disk before, while and after; a store that
was changed since it was written; names of fields that are paths, too long, alike or reserved; a
damaged run that hides one that can be resumed; a picture that cannot be drawn.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import Data

from lrsa_geo import plot
from lrsa_geo.cli import main
from lrsa_geo.data import MeshStore
from lrsa_geo.files import disk_is_full
from lrsa_geo.mesh import Field
from lrsa_geo.train import ModelConfig, Run, Surrogate, SurrogateModule
from lrsa_geo.train.disk import AtomicCheckpointIO, check_room

FLAGS = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FLAGS += ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
FLAGS += ["--model.num_latents", "2", "--model.fourier_octaves", "2", "--trainer.max_epochs", "2"]


def clouds(path: Path, fields: tuple[str, ...] = ("p",), count: int = 10) -> MeshStore:
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for _ in range(count):
        pos = torch.rand(30, 2, generator=generator)
        y = (pos[:, :1] * 3 + torch.arange(len(fields))).sin()
        graphs.append(Data(pos=pos, y=y, measure=torch.ones(30)))
    return MeshStore.write(path, graphs, {"y": tuple(map(Field, fields))})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_test_graph_that_cannot_be_scored_is_found_before_the_first_step(here, capsys):
    """The error on a grid needs grids: the training graphs are, the test graph is none."""
    grid = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
    graphs = [Data(pos=grid, y=grid[:, :1] + i, measure=torch.ones(16)) for i in range(9)]
    graphs.append(Data(pos=torch.rand(16, 2), y=torch.ones(16, 1), measure=torch.ones(16)))
    MeshStore.write(here / "s.h5", graphs, {"y": (Field("p"),)})
    flags = [*FLAGS, "--data.split", "{train: 8, val: 1, test: 1, shuffle: false}"]
    flags += ["--objective.error", "relative_l2_gradient"]
    assert main(["train", "s.h5", *flags]) == 1
    error = capsys.readouterr().err
    assert "s.h5: test graph 9 cannot be scored at the end of the training" in error
    assert "no regular grid" in error
    assert [path.name for path in here.iterdir()] == ["s.h5"]


def test_a_surface_that_no_test_graph_has_is_refused(here, capsys):
    marked = [
        Data(pos=torch.rand(16, 2), y=torch.rand(16, 1), measure=torch.ones(16)) for _ in range(9)
    ]
    for graph in marked:
        graph.boundary = (torch.arange(16) % 3).to(torch.int8)
    MeshStore.write(here / "s.h5", marked, {"y": (Field("p"),)})
    assert main(["train", "s.h5", *FLAGS, "--data.surface", "[7]"]) == 1
    error = capsys.readouterr().err
    assert "data.surface is [7], and no test graph of s.h5 has such a boundary marker" in error
    assert "but 0, 1, 2; choose" in error
    assert main(["train", "s.h5", *FLAGS, "--data.surface", "[2]"]) == 0


def test_a_store_that_was_changed_is_refused(here, capsys):
    clouds(here / "s.h5")
    with h5py.File(here / "s.h5", "r+") as file:
        file["node/y"][0] = 99
    assert main(["train", "s.h5", *FLAGS]) == 1
    assert "s.h5: contents have SHA-256" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["s.h5"]


NAMES = ("../../../evil", "loss", "error_against_nodes", "epoch", "a/b", "a b", "p", "P", "x" * 300)


def test_names_of_fields_never_become_paths(here):
    clouds(here / "in/s.h5", NAMES)
    os.chdir(here / "in")
    assert main(["train", "s.h5", *FLAGS, "--run", "r/r/r/r"]) == 0
    pictures = {Path(name).name for name in files_in(here / "in/r/r/r/r/pictures")}
    assert len(pictures) == len(NAMES) + 2
    assert {"loss.png", "loss-2.png", "_evil.png", "p.png", "P-2.png"} <= pictures
    assert [path.name for path in here.iterdir()] == ["in"]
    assert sorted(path.name for path in (here / "in").iterdir()) == ["r", "s.h5"]
    assert main(["predict", "r/r/r/r", "s.h5:1", "-o", "out.vtu"]) == 0


@given(st.lists(st.text(max_size=300), unique=True, max_size=8))
def test_every_field_has_a_picture_of_its_own_in_the_folder(names):
    run = Run(Path("run"))
    files = list(run.pictures_of(names).values())
    lowered = {str(file).casefold() for file in files}
    assert len(lowered) == len(names)
    assert not lowered & {str(run.picture(n)).casefold() for n in ("loss", "error_against_nodes")}
    for file in files:
        assert file.parent == run.path / "pictures"
        assert len(file.name.encode()) <= 255
        assert "\0" not in file.name


def test_a_picture_that_cannot_be_drawn_is_named_and_ends_nothing(here, capsys, monkeypatch):
    clouds(here / "s.h5")

    def compare(*_: object) -> None:
        raise RuntimeError("no screen")

    monkeypatch.setattr(plot, "compare", compare)
    assert main(["train", "s.h5", *FLAGS]) == 0
    assert "runs/s/pictures/p.png could not be drawn: RuntimeError: no screen" in (
        capsys.readouterr().err
    )
    assert (here / "runs/s/metrics.json").exists()


def test_resume_passes_over_runs_that_cannot_go_on(here, capsys):
    clouds(here / "s.h5")
    step = SurrogateModule.training_step

    def training_step(self, batch, batch_index):
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SurrogateModule, "training_step", training_step)
        for _ in range(3):
            assert main(["train", "s.h5", *FLAGS]) == 1
    good = (here / "runs/s-3/checkpoints/last.ckpt").read_bytes()
    (here / "runs/s-3/checkpoints/last.ckpt").write_bytes(good[: len(good) // 2])
    (here / "runs/s-2/config.yaml").write_text("nonsense: [\n")
    capsys.readouterr()
    assert main(["train", "s.h5", "--resume"]) == 0
    said = capsys.readouterr()
    assert "run folder: runs/s, going on after epoch 1" in said.out
    assert "runs/s-3 cannot go on: runs/s-3/checkpoints/last.ckpt: a damaged checkpoint" in said.err
    assert "runs/s-2 cannot go on" in said.err
    assert (here / "runs/s/metrics.json").exists()


# ---- full disks


def test_too_little_room_is_found_before_a_folder_is_made(here, monkeypatch):
    model = nn.Linear(1000, 1000)
    free = os.statvfs(here).f_bavail * os.statvfs(here).f_frsize
    check_room(here / "a/b", model)
    huge = nn.Linear(1, 1)
    huge.weight = nn.Parameter(torch.empty(1).expand(1).as_strided((free // 4, 1), (0, 0)))
    with pytest.raises(
        OSError, match=r"MiB are free on this disk, .* parameters\) take [\d,.]+ MiB"
    ):
        check_room(here / "a/b", huge)
    assert not (here / "a").exists()


@contextmanager
def files_of_20_kb() -> Iterator[None]:
    """No file of this process may grow beyond 20 kB: the system's own way to be out of room.

    Around as little as possible: pytest's own output may go to a file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(here):
    path = here / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    with files_of_20_kb(), pytest.raises(OSError) as caught:  # noqa: PT011
        AtomicCheckpointIO().save_checkpoint({"weights": torch.rand(10_000)}, path)
    assert caught.value.errno == errno.EFBIG
    assert disk_is_full(caught.value)
    assert files_in(here) == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 1}


def test_errors_of_another_kind_are_no_full_disk():
    assert not disk_is_full(FileNotFoundError(errno.ENOENT, "no such file"))
    assert not disk_is_full(None)
    wrapped = RuntimeError("cannot be written")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert disk_is_full(wrapped)


GROWS = """
import sys, resource
from lrsa_geo.cli import main
from lrsa_geo.train import SurrogateModule
step = SurrogateModule.training_step
def training_step(self, batch, batch_index):
    if self.current_epoch == int(sys.argv[1]):  # from here on the disk is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    return step(self, batch, batch_index)
SurrogateModule.training_step = training_step
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_disk_that_fills_up_in_a_training(here, epoch):
    """One line, the old checkpoint, nothing half-written; with room again it goes on."""
    clouds(here / "s.h5")
    command = [sys.executable, "-c", GROWS, str(epoch), "train", "s.h5", *FLAGS]
    command += ["--trainer.max_epochs", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("lrsa-geo: error")]
    assert len(errors) == 1, done.stderr
    assert "runs/s: the disk is full" in errors[0]
    assert not [name for name in files_in(here) if "/." in name or name.endswith(".tmp")]
    if not epoch:
        assert "nothing was kept" in errors[0]
        assert not (here / "runs").exists()
        return
    assert "3 of 5 epochs are kept in runs/s/checkpoints/last.ckpt" in errors[0]
    assert "train runs/s/config.yaml --resume --run runs/s` goes on" in errors[0]
    assert Run(Path("runs/s")).progress()[0] == 3
    assert main(["train", "runs/s/config.yaml", "--resume", "--run", "runs/s"]) == 0


def test_a_disk_that_is_full_while_predicting(here, capsys):
    pos = torch.rand(3000, 2)
    store = MeshStore.write(here / "s.h5", [Data(pos=pos, y=pos[:, :1])], {"y": (Field("p"),)})
    config = ModelConfig(8, 1, 2, 2, fourier_octaves=2, use_measure=False)
    Surrogate.for_training(config, store, [0]).save(here / "model.safetensors")
    with files_of_20_kb():
        assert main(["predict", "model.safetensors", "s.h5:0", "-o", "out"]) == 1
    assert "out/s-0.vtu: the disk is full" in capsys.readouterr().err
    assert files_in(here / "out") == []

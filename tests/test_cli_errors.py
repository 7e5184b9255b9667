"""What a clumsy hand sees of the commands: one line that says what to do, the rest on request.

Kinds of fault: settings of which no training can be made; a device that is not there; a precision
that the model does not have; a store without measure; errors of other libraries that look like a
message of this one; a traceback that nobody can see.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.cli import main
from lrsa_geo.cli.errors import is_expected, run_command
from lrsa_geo.cli.file_names import mesh_files
from lrsa_geo.data import MeshStore, StoreError
from lrsa_geo.mesh import Field

SMALL = ["--model.channels", "8", "--model.depth", "1", "--model.heads", "2"]
SMALL += ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    graphs = [
        Data(pos=torch.rand(9, 2, generator=generator), y=torch.rand(9, 1, generator=generator))
        for _ in range(8)
    ]
    MeshStore.write("bare.h5", graphs, {"y": (Field("p"),)})
    measured = [graph.clone().update({"measure": torch.ones(9)}) for graph in graphs]
    MeshStore.write("s.h5", measured, {"y": (Field("p"),)})
    return tmp_path


@pytest.mark.parametrize(
    ("store", "flags", "message"),
    [
        ("s", ["--trainer.max_epochs", "0"], "trainer.max_epochs is 0, expected 1 or more"),
        ("s", ["--trainer.max_epochs", "-1"], "set one of them"),
        ("s", ["--max-time", "soon"], "trainer.max_time is 'soon', expected a time such as 45m"),
        ("s", ["--model.depth", "0"], "`depth` is 0, expected at least 1"),
        ("s", ["--trainer.precision", "bf16-true"], "expected one of 32-true, bf16-mixed"),
        ("s", ["--trainer.precision", "banana"], "trainer.precision is 'banana'"),
        ("s", ["--data.batch_size", "0"], "data.batch_size is 0, expected 1 or more"),
        ("s", ["--data.num_workers", "-1"], "data.num_workers is -1, expected 0 or more"),
        ("s", ["--trainer.check_val_every_n_epoch", "0"], "expected 1 or more"),
        ("s", ["--trainer.gradient_clip_val", "-1"], "expected more than 0, or null"),
        ("s", ["--trainer.accelerator", "tpu"], "--trainer.accelerator auto takes what there is"),
        ("bare", [], "bare.h5: the graphs have no ['measure']"),
        ("bare", [], "--model.use_measure false does without"),
    ],
)
def test_what_cannot_be_trained_is_one_line(here, capsys, store, flags, message):
    before = sorted(path.name for path in here.iterdir())
    assert main(["train", f"{store}.h5", *SMALL, *flags]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert "unexpected" not in error
    assert sorted(path.name for path in here.iterdir()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(here, capsys):
    assert main(["train", "s.h5", *SMALL, "--trainer.accelerator", "gpu"]) == 1
    error = capsys.readouterr().err
    assert "accelerator gpu" in error
    assert "--trainer.accelerator auto takes what there is" in error


@pytest.mark.parametrize("command", ["train nothere.h5", "evaluate no", "data info no.h5"])
def test_the_traceback_of_any_command_is_shown_on_request(here, capsys, command):
    assert main(command.split()) == 1
    plain = capsys.readouterr().err
    assert plain.count("\n") == 1
    assert main([*command.split(), "--traceback"]) == 1
    whole = capsys.readouterr().err
    assert whole.startswith("Traceback")
    assert whole.endswith(plain)


def in_torch(_: list[str]) -> None:
    torch.ones(2, 3) @ torch.ones(2, 3)


def in_own_code(_: list[str]) -> None:
    MeshStore("nothere.h5")


def by_index(_: list[str]) -> None:
    [].pop()


def of_the_system(_: list[str]) -> None:
    Path("nothere").read_text()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (in_torch, "unexpected RuntimeError: mat1 and mat2"),
        (by_index, "unexpected IndexError: pop from empty list"),
        (in_own_code, "error: nothere.h5: no such file"),
        (of_the_system, "error: [Errno 2] No such file or directory: 'nothere'"),
    ],
)
def test_only_expected_errors_are_cut_to_their_message(here, capsys, command, words):
    assert run_command(command, []) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert ("--traceback" in error) == ("unexpected" in words)


def test_an_error_without_a_word_is_unexpected():
    assert not is_expected(ValueError())
    assert not is_expected(KeyError("p"))
    assert is_expected(OSError("full"))
    with pytest.raises(StoreError) as caught:
        MeshStore("nothere.h5")
    assert is_expected(caught.value)


def test_a_full_disk_keeps_the_old_split(cells_file, small_disk, monkeypatch, capsys):
    monkeypatch.chdir(small_disk)
    Path("s.h5").symlink_to(cells_file)
    assert main(["data", "split", "s.h5"]) == 0
    before = Path("s.split.json").read_text()
    with contextlib.suppress(OSError), open("fill", "wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))
    assert main(["data", "split", "s.h5", "--seed", "5"]) == 1
    assert "s.split.json: the disk is full; what was there before is kept" in (
        capsys.readouterr().err
    )
    assert Path("s.split.json").read_text() == before
    assert sorted(os.listdir()) == ["ballast", "fill", "s.h5", "s.split.json"]


def test_output_that_nobody_reads_ends_a_command_in_one_line(capsys):
    def broken(_: list[str]) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    assert run_command(broken, []) == 141
    error = capsys.readouterr().err
    assert "nobody reads its output" in error
    assert error.count("\n") == 1


def test_one_file_by_two_spellings_is_one_case(tmp_path, monkeypatch):
    """Else a random split would test on what it trained on."""
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/m.vtu").write_text("")
    found = mesh_files(["a/m.vtu", "./a/*.vtu", str(tmp_path / "a/m.vtu"), "a/../a"])
    assert found == ["a/m.vtu"]


def test_names_that_a_terminal_cannot_show_end_nothing(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setattr("lrsa_geo.cli.commands.run", lambda argv: print("größe.vtu") or 0)
    assert main([]) == 0
    shown.flush()
    assert shown.buffer.getvalue() == b"gr\\xf6\\xdfe.vtu\n"


def test_a_deleted_folder_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["data", "info", "../s.h5"]) == 1
    assert "the current folder was deleted" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)  # pytest goes back from here

"""What a user sees of an error: one line of what was expected, the rest on request."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

import lrsa_geo
from lrsa_geo.files import disk_is_full

TRACEBACK = "--traceback"
_PACKAGE = Path(lrsa_geo.__file__).parent


def run_command(command: Callable[[list[str]], None], argv: list[str]) -> int:
    """Run a command; an error becomes one line, with ``--traceback`` all of it.

    Returns:
        Exit status: 0, 1 for an error, 130 where the user interrupted, 141 where nobody reads on.
    """
    shows_all = TRACEBACK in argv
    try:
        command([argument for argument in argv if argument != TRACEBACK])
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {interrupt}" if str(interrupt) else "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        with suppress(OSError):  # what is left in the buffer has no reader
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(
            "lrsa-geo: ended, since nobody reads its output any more (as after `| head`); send the"
            " output to a file to let it finish",
            file=sys.stderr,
        )
        return 128 + 13  # as the shell has it
    except Exception as error:
        if shows_all:
            traceback.print_exc()
        print(f"lrsa-geo: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of memory: lower data.batch_size or set data.nodes_per_graph ({text[:160]})"
    if isinstance(error, OSError) and error.filename and disk_is_full(error):
        return (
            f"{error.filename}: the disk is full; what was there before is kept: free some space"
            " and give the command again"
        )
    if is_expected(error):
        return text or type(error).__name__
    return (
        f"unexpected {type(error).__name__}: {text or 'no message'}; add {TRACEBACK} to see where"
        " it comes from, and please report it"
    )


def is_expected(error: Exception) -> bool:
    """Whether an error is meant for the user: raised by the library itself, or by the system."""
    if isinstance(error, OSError | ImportError):
        return True
    if not isinstance(error, ValueError | RuntimeError) or not str(error):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)

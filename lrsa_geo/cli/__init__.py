"""The command `lrsa-geo`."""

from __future__ import annotations

import io
import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for an error of the command, 2 for a wrong call.

    A training that was interrupted ends with 130, as the shell has it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files that a terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        os.getcwd()  # libraries end the process without it
    except FileNotFoundError:
        print(
            "lrsa-geo: error: the current folder was deleted; change to one that exists",
            file=sys.stderr,
        )
        return 1
    try:
        from lrsa_geo.cli.commands import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lrsa_geo"):
            raise
        print(
            f"lrsa-geo: error: the command needs '{error.name}', which is not installed: the layers"
            " and the mesh road came without it; `pip install 'lrsa_geo[train]'` brings the rest",
            file=sys.stderr,
        )
        return 1
    return run(sys.argv[1:] if argv is None else argv)

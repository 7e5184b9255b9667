"""The argument parser of all commands."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the line breaks of a description as they are."""


class Parser(ArgumentParser):
    """Errors in one line, with the nearest valid name where a name is unknown."""

    def __init__(self, prog: str, usage: str, description: str) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            formatter_class=HelpFormatter,
        )

    def error(self, message: str, *_: Any) -> NoReturn:
        """Print and leave with status 2."""
        names = [f"--{action.dest}" for action in self._actions]
        unknown = re.search(r"unrecognized arguments: --(\S+)", message)
        if unknown is None:
            group = re.search(r"Group '(\S+)' does not accept option '(\S+)'", message)
            unknown = group and re.match(r"(.*)", ".".join(group.groups()))
        hint = ""
        if unknown is not None:
            near = difflib.get_close_matches("--" + unknown[1].split("=")[0], names, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
        print(f"{self.prog}: error: {' '.join(message.split())}{hint}", file=sys.stderr)
        print(f"See `{self.prog} --help`.", file=sys.stderr)
        sys.exit(2)

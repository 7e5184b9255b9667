"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

torch is left out: its CPU build comes first, as `constraints.txt` names it.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import tomllib


def main() -> None:
    """One line for each direct dependency."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != "scatter"}
    for requirement in chain(project["dependencies"], *extras.values()):
        match = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", requirement)
        if match and match[1] != "torch":
            print(f"{match[1]}=={match[2]}")


if __name__ == "__main__":
    main()

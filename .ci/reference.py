"""Write REFERENCE.md: what each room of the library exports, with the first sentence about it.

python .ci/reference.py            write the file
python .ci/reference.py --check    exit with 1 if it is not what would be written
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from itertools import pairwise
from pathlib import Path

ROOMS = (
    "nn",
    "mesh",
    "data",
    "data.datasets",
    "simulate",
    "train",
    "study",
    "plot",
    "jobs",
    "files",
)
HEAD = """\
# Reference

What each room exports; `help(NAME)` in Python has arguments, shapes, errors and examples.
`python .ci/reference.py` writes this page from the docstrings.
"""


def main() -> int:
    """Write or check."""
    text = HEAD + "".join(_room(f"lrsa_geo.{room}") for room in ROOMS)
    path = Path("REFERENCE.md")
    if "--check" in sys.argv:
        if not path.exists() or path.read_text() != text:
            print("REFERENCE.md is out of date: run `python .ci/reference.py`", file=sys.stderr)
            return 1
        return 0
    path.write_text(text)
    return 0


def _room(name: str) -> str:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == name and not key.startswith("_")
    ]
    rows = [f"| `{key}` | {_sentence(module, key)} |" for key in names]
    about = _first(inspect.getdoc(module) or "")
    about = _first(inspect.getdoc(module) or "")
    head = f"\n## {name}\n\n{about}\n\n| name | what it is |\n|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _sentence(module: object, key: str) -> str:
    value = getattr(module, key)
    if inspect.isclass(value) or inspect.isroutine(value):
        return _first(inspect.getdoc(value) or "")
    return _first(_of_constant(module, key))


def _of_constant(module: object, key: str) -> str:
    """The string below a constant's assignment, looked for in the room and its files."""
    folder = Path(inspect.getfile(module)).parent  # type: ignore[arg-type]
    for file in sorted(folder.rglob("*.py")):
        body = ast.parse(file.read_text()).body
        for statement, after in pairwise(body):
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            is_it = any(getattr(target, "id", None) == key for target in targets)
            if is_it and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return str(after.value.value)
    raise SystemExit(f"{key} has no docstring: put one below its assignment")


def _first(doc: str) -> str:
    """The first sentence, as Markdown in a table."""
    text = " ".join(doc.split("\n\n")[0].split())
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r":math:`(.*?)`", r"`\1`", text)
    match = re.match(r"(.+?\.)(\s|$)", text)
    return (match[1] if match else text).rstrip(".").replace("|", "\\|") + "."


if __name__ == "__main__":
    sys.exit(main())

"""Tables of results: files that appear whole, and what was used to make them."""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrsa_geo import __version__
from lrsa_geo.files import atomic_path
from lrsa_geo.process import processor_name


def write_table(path: Path, content: str | Iterable[Sequence[Any]]) -> None:
    """Write a text, or rows as CSV."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        if isinstance(content, str):
            file.write(content)
        else:
            csv.writer(file).writerows(content)


def markdown_rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def spread(errors: Sequence[float] | np.ndarray) -> str:
    """Mean and standard deviation (n - 1); the value alone where there is one; nothing of none."""
    if len(errors) < 2:
        return "".join(f"{error:.4f}" for error in errors)
    return f"{np.mean(errors):.4f} ± {np.std(errors, ddof=1):.4f}"


def shown(number: float | None) -> str:
    """A count or a budget for a reader, with all its digits; nothing of None."""
    if number is None:
        return ""
    return f"{number:,.0f}" if number == int(number) else f"{number:,}"


def plain(number: float) -> str:
    """The same for a file or its name."""
    return shown(number).replace(",", "")


def made_with() -> str:
    """Versions, processor and date, in a sentence."""
    return (
        f"lrsa_geo {__version__}, torch {torch.__version__}, {processor_name()}"
        f" ({platform.machine()}), {date.today().isoformat()}."
    )

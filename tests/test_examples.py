"""The examples of docstrings run, in every room that has no such test of its own."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import lrsa_geo

ROOT = Path(lrsa_geo.__file__).parent
FILES = [
    file for room in ("mesh", "data", "simulate", "train") for file in (ROOT / room).rglob("*.py")
]
NAMES = [
    ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted(FILES)
    if ">>>" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_print_what_they_say(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed

"""The guide names every extension that is read, and no other."""

import re
from pathlib import Path

from lrsa_geo.mesh import MESH_SUFFIXES

GUIDE = Path(__file__).parents[2] / "GUIDE.md"


def test_the_table_of_formats_has_every_extension_once():
    text = GUIDE.read_text(encoding="utf-8")
    section = text.partition("## Which files are read\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `.")]
    named = [suffix for row in rows for suffix in re.findall(r"\.\w+", row)]
    assert sorted(named) == sorted(MESH_SUFFIXES)

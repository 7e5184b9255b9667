"""Readers of C++ libraries, in a process that may die.

They end the process on some damaged files, or never end, and keep the state of a whole program; a
child can be survived and stopped. What it read comes back as an ``.npz``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import blocks_from_offsets
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.polyhedra import Faces

_FACES = ("faces", "face_starts", "cell_faces", "cell_face_starts")


def read_in_child(program: str, path: Path, step: int, seconds: float, who: str) -> RawMesh:
    """Run ``program PATH STEP OUT.npz`` and take what it leaves.

    Its arrays are ``pos, types, starts, nodes``; ``p:NAME`` and ``c:NAME`` for the fields of nodes
    and cells; perhaps ``notes``, lines about what was left out, and ``faces, face_starts,
    cell_faces, cell_face_starts``, the faces of polyhedra as :meth:`Faces.of_cells` takes them.

    Args:
        program: file of the program.
        path, step: mesh file and its step.
        seconds: how long it may take.
        who: name of the library for messages.

    Raises:
        ValueError: the reader failed or died; the message is what it said last.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "mesh.npz")
        done = subprocess.run(
            [sys.executable, program, str(path.absolute()), str(step), str(out)],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it says nothing"]
            raise ValueError(f"{who}'s reader ended with status {done.returncode}: {lines[-1]}")
        with np.load(out, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    return RawMesh(
        arrays["pos"],
        blocks_from_offsets(arrays["types"], arrays["starts"], arrays["nodes"]),
        {name[2:]: values for name, values in arrays.items() if name.startswith("p:")},
        {name[2:]: values for name, values in arrays.items() if name.startswith("c:")},
        [str(note) for note in arrays.get("notes", ())],
        Faces.of_cells(*(arrays[name] for name in _FACES)) if _FACES[0] in arrays else None,
    )

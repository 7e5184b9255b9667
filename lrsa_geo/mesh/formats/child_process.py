"""Readers of C++ libraries, in a process that may die.

They end the process on some damaged files, or never end, and keep the state of a whole program; a
child can be survived and stopped. What it read comes back as an ``.npz``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from lrsa_geo.mesh.cells import blocks_from_offsets
from lrsa_geo.mesh.formats import child_loop
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.polyhedra import Faces

_FACES = ("faces", "face_starts", "cell_faces", "cell_face_starts")


def read_in_child(program: str, path: Path, step: int, seconds: float, who: str) -> RawMesh:
    """Let ``main(PATH, STEP, OUT)`` of a program write ``OUT``, an .npz, and take it.

    Its arrays are ``pos, types, starts, nodes``; ``p:NAME`` and ``c:NAME`` for the fields of nodes
    and cells; perhaps ``times`` of all steps, ``notes``, lines about what was left out, and
    ``faces, face_starts, cell_faces, cell_face_starts``, the faces of polyhedra as
    :meth:`Faces.of_cells` takes them. Inside :meth:`KeptChildren.used` the process stays for the
    next file or step.

    Args:
        program: file of the program.
        path, step: mesh file and its step.
        seconds: how long it may take.
        who: name of the library for messages.

    Raises:
        ValueError: the reader failed or died; the message is what it said last.
    """
    kept = _kept.get()
    if kept is not None:
        return kept.read(program, path, step, seconds, who)
    child = _Child(program, who)
    try:
        return child.read(path, step, seconds)
    finally:
        child.end()


class KeptChildren:
    """Processes of readers that stay while a series is read: to start one takes a second or two."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    @contextmanager
    def used(self) -> Iterator[None]:
        """What is read inside, by this thread, is read by these processes."""
        token = _kept.set(self)
        try:
            yield
        finally:
            _kept.reset(token)

    def read(self, program: str, path: Path, step: int, seconds: float, who: str) -> RawMesh:
        """As :func:`read_in_child`; a process that died is replaced at the next call."""
        child = self._children.get(program)
        if child is None:
            child = self._children[program] = _Child(program, who)
        try:
            return child.read(path, step, seconds)
        except BaseException:
            del self._children[program]
            child.end()
            raise

    def end(self) -> None:
        """End the processes."""
        while self._children:
            self._children.popitem()[1].end()


_kept: ContextVar[KeptChildren | None] = ContextVar("kept children", default=None)


class _Child:
    """A process in :mod:`child_loop`, in a temporary folder."""

    def __init__(self, program: str, who: str) -> None:
        self.who = who
        self.folder = tempfile.TemporaryDirectory()
        self.said = open(Path(self.folder.name, "said"), "w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, child_loop.__file__, program],
            cwd=self.folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
        )

    def read(self, path: Path, step: int, seconds: float) -> RawMesh:
        out = Path(self.folder.name, "mesh.npz")
        wish = json.dumps([str(path.absolute()), step, str(out)])
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            self.process.stdin.write(wish.encode() + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        if late.is_set():
            raise ValueError(f"{self.who}'s reader did not end within {seconds:.0f} seconds")
        if not answer:
            status = self.process.wait()
            self.said.seek(0)
            text = self.said.read().decode(errors="replace").strip()
            lines = text.splitlines() or ["it says nothing"]
            raise ValueError(f"{self.who}'s reader ended with status {status}: {lines[-1]}")
        with np.load(out, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        out.unlink()
        return RawMesh(
            arrays["pos"],
            blocks_from_offsets(arrays["types"], arrays["starts"], arrays["nodes"]),
            {name[2:]: values for name, values in arrays.items() if name.startswith("p:")},
            {name[2:]: values for name, values in arrays.items() if name.startswith("c:")},
            [str(note) for note in arrays.get("notes", ())],
            Faces.of_cells(*(arrays[name] for name in _FACES)) if _FACES[0] in arrays else None,
            arrays.get("times"),
        )

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what it did not read any more
                    continue
        self.folder.cleanup()

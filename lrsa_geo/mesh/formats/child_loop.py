"""Answer requests to read files: run as a program, in a process of its own.

It imports nothing of this library, so that it starts fast::

    python child_loop.py PROGRAM.py

A line of input is ``[FILE, STEP, OUT]`` in JSON. ``main(FILE, STEP, OUT)`` of the program answers
it, and a line of output says that it is done. An error ends the process, and is the last that it
says on its standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import sys


def loop(program: str) -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    main = runpy.run_path(program)["main"]
    for line in sys.stdin:
        path, step, out = json.loads(line)
        main(path, step, out)
        answers.write("done\n")
        answers.flush()


if __name__ == "__main__":
    del sys.path[0]  # this folder: its files are modules of the library, not of the world
    loop(sys.argv[1])

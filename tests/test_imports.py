"""What importing a room brings with it, each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What an installation without extras lacks, by the names that are imported.
EXTRAS = (
    "lightning",
    "jsonargparse",
    "matplotlib",
    "igl",
    "pyvista",
    "gmsh",
    "felupe",
    "skfem",
)

WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("room", ["nn", "mesh", "data", "data.datasets", "simulate"])
def test_rooms_of_the_base_install_need_no_extra(room):
    done = run(WITHOUT + f"import lrsa_geo.{room}")
    assert done.returncode == 0, done.stderr


def test_the_layers_know_nothing_of_files_and_training():
    shown = run(
        "import sys, lrsa_geo.nn\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'meshio', 'trimesh',"
        " 'lightning', 'matplotlib', 'jsonargparse', 'safetensors'}))\n"
        "print([name for name in sys.modules if name.startswith('lrsa_geo.')"
        " and not name.startswith('lrsa_geo.nn')])"
    )
    assert shown.stdout.split("\n")[:2] == ["[]", "[]"], shown


def test_training_needs_no_pictures_and_no_unix_until_they_are_asked_for():
    done = run(
        "import sys, torch_geometric, lightning\n"
        "sys.modules['matplotlib'] = None  # which Lightning's metrics have imported already\n"
        "sys.modules['resource'] = None  # as on Windows\n"
        "import lrsa_geo.train"
    )
    assert done.returncode == 0, done.stderr


def test_pictures_leave_the_settings_of_matplotlib_alone():
    done = run(
        "import matplotlib\nbefore = dict(matplotlib.rcParams)\n"
        "import lrsa_geo.plot\nassert dict(matplotlib.rcParams) == before"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments", [["train", "elasticity"], ["data", "info", "x.h5"], ["--help"]]
)
def test_the_command_says_which_extra_it_lacks(arguments):
    program = WITHOUT + "from lrsa_geo.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = run(program, *arguments)
    assert done.returncode == 1, done
    assert "pip install 'lrsa_geo[train]'" in done.stderr
    assert "Traceback" not in done.stderr

"""Print the checks of the solvers against known solutions: `python datasets/validate.py`.

About ten minutes on one core; `--quick` takes coarse meshes only.
"""

from __future__ import annotations

import sys

from lrsa_geo.simulate import airfoil_checks, bracket_checks, cylinder_checks


def main(quick: bool) -> None:
    """Print one table for each solver."""
    solvers = {
        "airfoil": airfoil_checks,
        "bracket3d": bracket_checks,
        "cylinder": cylinder_checks,
    }
    for name, checks in solvers.items():
        print(f"\n### {name}\n\n| check | figure | ideally |\n|---|---|---|")
        for what, value, ideal in checks.validate(quick):
            print(f"| {what} | {value:.4g} | {ideal} |", flush=True)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])

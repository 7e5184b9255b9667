"""What a sample of a recipe costs: `python datasets/cost.py airfoil [16]`.

Makes the first samples one after the other in this process (one thread) and prints the processor
seconds of each, and how many flows an airfoil's samples refused before.
"""

from __future__ import annotations

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy comes in

import numpy as np

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate import recipe_class


def main(name: str, samples: int) -> None:
    """Make, time, print."""
    recipe = recipe_class(name)()
    seconds, nodes, refused, failed = [], [], 0, 0
    for index in range(samples):
        started = time.process_time()
        try:
            data = recipe.sample(index)
        except SampleError as error:
            failed += 1
            print(f"sample {index}: {error}")
        else:
            nodes.append(len(data.pos))
            if name == "airfoil":
                refused += int(data.about[0, 2])
        seconds.append(time.process_time() - started)
    print(
        f"{name}: {np.mean(seconds):.2f} ± {np.std(seconds, ddof=1):.2f} s of one core for each of"
        f" {samples} samples of {min(nodes)} to {max(nodes)} nodes; {failed} failed, {refused}"
        " draws refused"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16)

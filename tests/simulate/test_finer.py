"""The script that tests models on finer meshes: the same samples, and more nodes."""

from __future__ import annotations

import runpy

import pytest

from lrsa_geo.files import shipped_datasets
from lrsa_geo.simulate import recipe_class

SCRIPT = runpy.run_path(str(shipped_datasets() / "finer.py"))


@pytest.mark.parametrize("name", ["elasticity", "darcy_irregular", "airfoil"])
def test_a_finer_mesh_is_of_the_same_sample(name):
    recipe = recipe_class(name)(min_nodes=700, max_nodes=900)
    fine = SCRIPT["finer"](recipe, 4)
    own, other, again = recipe.sample(0), recipe.sample(1), fine.sample(0)
    assert 3 < len(again.pos) / len(own.pos) < 5
    assert SCRIPT["alike"](own, again)
    assert not SCRIPT["alike"](other, again)


def test_a_finer_grid_holds_the_points_of_the_coarse_one():
    recipe = recipe_class("darcy")(resolution=41, every=4)
    own, again = recipe.sample(0), SCRIPT["finer"](recipe, 4).sample(0)
    assert len(own.pos) == 11**2
    assert len(again.pos) == 21**2
    coarse = again.y.unflatten(0, (21, 21))[::2, ::2].flatten(0, 1)
    assert coarse.equal(own.y)


def test_a_grid_has_no_mesh_of_any_size():
    with pytest.raises(SystemExit, match="expected 4, 25 or 100"):
        SCRIPT["finer"](recipe_class("darcy")(), 3)

"""Solvers that make real data, one problem per file.

The solvers (felupe, gmsh, ...) are imported when a recipe is asked for, so that the rest of the
library works without the ``simulate`` extra.
"""

from __future__ import annotations

from importlib import import_module

from lrsa_geo.simulate.make import Recipe, Shard, find_store, make_store
from lrsa_geo.simulate.quantities import QUANTITIES, Quantities

RECIPES = {
    "airfoil": "AirfoilRecipe",
    "bracket3d": "BracketRecipe",
    "cylinder": "CylinderRecipe",
    "darcy": "DarcyRecipe",
    "darcy_irregular": "IrregularDarcyRecipe",
    "elasticity": "ElasticityRecipe",
    "forging": "ForgingRecipe",
    "navier_stokes": "NavierStokesRecipe",
}
"""Problems with a solver: module of this room, and the recipe in it."""


def recipe_class(name: str) -> type[Recipe]:
    """The recipe dataclass of a problem.

    Raises:
        ValueError: there is no such problem.
        ImportError: its solver is not installed.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe '{name}', there are: {', '.join(RECIPES)}")
    try:
        module = import_module(f"lrsa_geo.simulate.{name}")
    except (ImportError, OSError) as error:  # OSError: gmsh without a system library
        raise ImportError(
            f"the recipe '{name}' needs the extra `simulate` (pip install 'lrsa_geo[simulate]')"
            f" and, for gmsh, the system's libGLU, libXcursor, libXft and libXinerama: {error}"
        ) from error
    recipe: type[Recipe] = getattr(module, RECIPES[name])
    return recipe


__all__ = [
    "QUANTITIES",
    "RECIPES",
    "Quantities",
    "Recipe",
    "Shard",
    "find_store",
    "make_store",
    "recipe_class",
]

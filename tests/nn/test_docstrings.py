"""The examples in the docstrings of the layers run, and every class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import lrsa_geo.nn

MODULES = [
    module.name for module in pkgutil.walk_packages(lrsa_geo.nn.__path__, prefix="lrsa_geo.nn.")
]
# Named by others, not built by users.
ABSTRACT = {
    "LostProcessError",
    "LowRankMixer",
    "Mixer",
    "NodeModule",
    "OperatorConfig",
    "Summary",
    "WeightedSums",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_every_class_of_the_door_has_an_example():
    classes = {
        name
        for name in lrsa_geo.nn.__all__
        if inspect.isclass(getattr(lrsa_geo.nn, name)) and name not in ABSTRACT
    }
    assert {n for n in classes if ">>> " not in (getattr(lrsa_geo.nn, n).__doc__ or "")} == set()

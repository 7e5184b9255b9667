"""What each part of LRSA is worth: a study that changes one thing at a time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lrsa_geo.nn import MIXERS
from lrsa_geo.plot import Choice, errors_of_choices
from lrsa_geo.study.plan import Study
from lrsa_geo.study.run import Rows, cells, fields_of
from lrsa_geo.train import ModelConfig

SIZES: dict[str, tuple[str, tuple[int, ...]]] = {
    "latents": ("num_latents", (8, 16, 32, 64, 128, 256)),
    "heads": ("heads", (1, 2, 4, 8)),
    "blocks": ("depth", (2, 4, 6, 8)),
    "latent blocks": ("latent_depth", (0, 1, 2)),
}
"""What is counted, its name in the configuration, and how many are tried."""
BASES: dict[str, str] = {
    "lrsa": "LRSA",
    "lrsa_direct": "LRSA, direct values",
    "lrsa_light": "LRSA, light",
    "lrsa_symmetric": "LRSA, symmetric",
    "lrsa_symmetric_direct": "LRSA, symmetric, direct values",
}
"""The mixers whose parts can be changed, and what the study calls them."""
OPTIONS: dict[str, tuple[str, Any]] = {
    "without latent attention": ("latent_attention", False),  # arXiv 2604.03582, Figure 5
    "softmax starts flat": ("sharpness", 1.0),
    "weights start apart": ("aligned_start", False),
    "latent blocks start whole": ("latent_start", 1.0),
}
"""Options of the mixers that are changed where a mixer has them."""
_WITHOUT_ATTENTION = {"latent_attention": False}
VARIANTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "lrsa": {"symmetric": ("lrsa_symmetric", {}), "direct values": ("lrsa_direct", {})},
    "lrsa_direct": {
        "symmetric": ("lrsa_symmetric_direct", {}),
        "projected values": ("lrsa", {}),
    },
    "lrsa_light": {
        "with Transformer block": ("lrsa_symmetric_direct", {}),
        "not symmetric": ("lrsa_direct", _WITHOUT_ATTENTION),
        "projected values": ("lrsa_symmetric", _WITHOUT_ATTENTION),
    },
    "lrsa_symmetric": {
        "not symmetric": ("lrsa", {}),
        "direct values": ("lrsa_symmetric_direct", {}),
    },
    "lrsa_symmetric_direct": {
        "not symmetric": ("lrsa_direct", {}),
        "projected values": ("lrsa_symmetric", {}),
    },
}
"""What differs from each in one part, and is another mixer, with what options."""
OF_LATENT_BLOCKS = {
    "without latent attention",
    "latent blocks start whole",
    "with Transformer block",
}
"""Parts that there are none of where a model has no blocks on its latents."""


def parts_of(model: ModelConfig) -> dict[str, dict[str, Any]]:
    """Changes of a model, each of one part of the layer, by what they are called.

    Args:
        model: whose mixer is one of :data:`BASES`.
    """
    mixer, options = str(model.mixer), model.mixer_options
    known = inspect.signature(MIXERS[mixer]).parameters
    parts: dict[str, dict[str, Any]] = {
        name: {"model.mixer_options": {**options, option: value}}
        for name, (option, value) in OPTIONS.items()
        if option in known and options.get(option) != value
    }
    for name, (other, added) in VARIANTS[mixer].items():
        common = {
            option: value
            for option, value in options.items()
            if option in inspect.signature(MIXERS[other]).parameters
        }
        parts[name] = {"model.mixer": other, "model.mixer_options": {**common, **added}}
    if model.latent_depth == 0:
        return {name: change for name, change in parts.items() if name not in OF_LATENT_BLOCKS}
    return parts


def ablation(
    data: str,
    seconds: float,
    seeds: tuple[int, ...] = (0, 1, 2),
    *,
    quick: bool = False,
    changes: Mapping[str, Any] | None = None,
) -> Study:
    """The study of a data set whose first model is that of its configuration.

    Every other model differs from it in one thing: a size, or a part of the layer. Sizes that the
    configuration has already, and numbers of heads that do not divide its channels, are left out.

    Args:
        data: as for `lrsa-geo train`.
        seconds: processor seconds of each training.
        seeds: of the weights and the order of the batches.
        quick: the data set's small variant.
        changes: values of its configuration; steps are not compiled unless one says so.

    Raises:
        ValueError: there is no such data set, its mixer is none of :data:`BASES`, or something in
            the configuration of a model is out of range.
    """
    name = f"ablation-{Path(data).stem}"
    changes = {"trainer.compile": False, **(changes or {})}  # each model would be compiled anew
    own = Study(name, {data: changes}, {"own": {}}, seeds, seconds, quick=quick, file=Path(name))
    model = own.config(data).model
    if model.mixer not in BASES:
        raise ValueError(f"{data}: its mixer is '{model.mixer}', expected {' or '.join(BASES)}")
    models: dict[str, dict[str, Any]] = {BASES[model.mixer]: {}}
    for what, (key, sizes) in SIZES.items():
        for size in sizes:
            if size != getattr(model, key) and (key != "heads" or model.channels % size == 0):
                models[_with(size, what)] = {f"model.{key}": size}
    models |= parts_of(model)
    study = replace(own, models=models)
    study.check()
    return study


def _with(size: int, what: str) -> str:
    """Name of a model: "8 heads", "1 head"."""
    return f"{size} {what.removesuffix('s') if size == 1 else what}"


def choices(study: Study, data: str, rows: Rows, field: str) -> dict[str, list[Choice]]:
    """Errors of one field against each size, and of each part that is changed.

    Args:
        study: as :func:`ablation` gives it.
        data: one of its data sets.
        rows: of that set, as :func:`~lrsa_geo.study.run_study` gives them.
        field: one of its fields.
    """
    own = study.config(data).model
    base = BASES[own.mixer]
    of_parts = (base, *parts_of(own))
    found = cells(rows, list(study.models), field)

    def choice(label: str, name: str) -> Choice:
        cell = found[name]
        return Choice(label, cell.mean, cell.spread or 0, name == base)

    panels: dict[str, list[Choice]] = {}
    for what, (key, sizes) in SIZES.items():
        names = {size: _with(size, what) for size in sizes} | {getattr(own, key): base}
        panels[what] = [choice(str(n), name) for n, name in sorted(names.items()) if name in found]
    panels["parts"] = [choice(name, name) for name in of_parts if name in found]
    return panels


def plot_sensitivity(study: Study, results: Mapping[str, Rows], path: Path) -> None:
    """Draw the :func:`choices` of every field.

    Args:
        study: as :func:`ablation` gives it.
        results: as :func:`~lrsa_geo.study.run_study` gives them.
        path: PNG file.
    """
    pictures = {
        f"{data}: {field}": choices(study, data, rows, field)
        for data, rows in results.items()
        for field in fields_of(rows)
    }
    if pictures:
        errors_of_choices(pictures, path)

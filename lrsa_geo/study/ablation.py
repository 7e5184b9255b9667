"""What each part of LRSA is worth: a study that changes one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrsa_geo.study.plan import Study

LATENTS = (8, 16, 32, 64, 128, 256)
HEADS = (1, 2, 4, 8)
DEPTHS = (2, 4, 6, 8)
LATENT_DEPTHS = (0, 1, 2)
PARTS: dict[str, dict[str, Any]] = {
    "without latent attention": {"model.mixer_options": {"latent_attention": False}},
    "symmetric": {"model.mixer": "lrsa_symmetric"},
    "softmax starts flat": {"model.mixer_options": {"sharpness": 1.0}},
    "latent blocks start whole": {"model.mixer_options": {"latent_start": 1.0}},
}
"""The paper's component variants (arXiv 2604.03582, Figure 5), and those of the start."""


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
        changes: values of its configuration.

    Raises:
        ValueError: there is no such data set, or its mixer is not LRSA.
    """
    name = f"ablation-{Path(data).stem}"
    changes = changes or {}
    plain = Study(name, {data: changes}, {"LRSA": {}}, seeds, seconds, quick=quick, file=Path(name))
    model = plain.config(data, "LRSA").model
    if model.mixer != "lrsa":
        raise ValueError(f"{data}: its mixer is '{model.mixer}', expected lrsa")
    models: dict[str, dict[str, Any]] = {"LRSA": {}}
    for what, key, sizes in (
        ("latents", "num_latents", LATENTS),
        ("heads", "heads", HEADS),
        ("blocks", "depth", DEPTHS),
        ("latent blocks", "latent_depth", LATENT_DEPTHS),
    ):
        for size in sizes:
            if size != getattr(model, key) and (key != "heads" or model.channels % size == 0):
                models[f"{size} {what}"] = {f"model.{key}": size}
    models |= PARTS
    return Study(name, {data: changes}, models, seeds, seconds, quick=quick, file=Path(name))

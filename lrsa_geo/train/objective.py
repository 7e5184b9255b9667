"""Objective: the loss that training minimises and the errors that are reported."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch_geometric.data import Batch

from lrsa_geo.data import Normalizer
from lrsa_geo.mesh import Fields
from lrsa_geo.train.losses import LOSSES, Comparison, scaled
from lrsa_geo.train.losses import relative_l2 as _relative_l2


@dataclass
class ObjectiveConfig:
    """What training minimises, and in what its errors are reported.

    Args:
        loss: "relative_l2" per graph and field; "mse", "l1" or "huber" of the normalised targets;
            "relative_l2_gradient" adds that of the gradient on regular grids, "relative_l2_edges"
            that of the slopes along the edges of any mesh.
        error: the validation and test errors, by the same names.
        field_weights: weights of fields in the loss, such as {p: 2}; 1 for those not named.
        by_measure: weigh each node by the length, area or volume it stands for, in loss and errors.
        gradient_weight: of the gradient or the slopes in the losses that have them.
    """

    loss: str = "relative_l2"
    error: str = "relative_l2"
    field_weights: dict[str, float] = field(default_factory=dict)
    by_measure: bool = False
    gradient_weight: float = 0.1


class Objective:
    """Loss and errors of the targets of a model, in physical units.

    A field that is zero on a graph is measured against its root mean square in training.

    Args:
        config: names and weights.
        fields: columns of the targets.
        normalizer: sizes of the fields in training.

    Raises:
        ValueError: there is no such loss or field, or a weight is negative.
    """

    def __init__(self, config: ObjectiveConfig, fields: Fields, normalizer: Normalizer) -> None:
        check_objective(config)
        names = [f.name for f in fields]
        for name, weight in config.field_weights.items():
            _check_name("objective.field_weights", name, names)
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"objective.field_weights: {name} is {weight}, expected 0 or more")
        self.weights = [float(config.field_weights.get(name, 1)) for name in names]
        if not any(self.weights):
            raise ValueError("objective.field_weights: all are 0, so there is nothing to learn")
        self.config = config
        self.fields = fields
        self.normalizer = normalizer

    @property
    def arrays(self) -> list[str]:
        """Arrays of the graphs that it reads."""
        arrays = ["y", *(["measure"] if self.config.by_measure else [])]
        for name in (self.config.loss, self.config.error):
            arrays += LOSSES[name].arrays
        return list(dict.fromkeys(arrays))

    def prepare(self, batch: Batch) -> None:
        """Put into a training batch what the loss would look for in it; loaders do so."""
        if prepare := LOSSES[self.config.loss].prepare:
            prepare(batch)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """What training minimises: the weighted mean over fields and graphs that have a truth."""
        comparison = self._comparison(prediction, batch)
        values = LOSSES[self.config.loss](comparison, self.config.gradient_weight)
        weights = scaled((comparison.count > 0).to(values.dtype), self.weights)
        smallest = torch.finfo(values.dtype).tiny
        return torch.where(weights > 0, values * weights, 0).sum() / weights.sum().clamp(smallest)

    def weight(self, batch: Batch) -> Tensor:
        """What a batch counts for in :meth:`loss`: the sum of the weights of what is known."""
        known = self._comparison(batch.y, batch).count > 0
        return scaled(known.to(batch.y.dtype), self.weights).sum()

    def errors(self, prediction: Tensor, batch: Batch) -> Tensor:
        """The errors to report, ``[B, number of fields]``; NaN where a graph has no truth."""
        comparison = self._comparison(prediction, batch)
        values = LOSSES[self.config.error](comparison, self.config.gradient_weight)
        return values.masked_fill(comparison.count == 0, torch.nan)

    def _comparison(self, prediction: Tensor, batch: Batch) -> Comparison:
        halo = batch.get("halo")  # nodes that are there for their messages alone
        truth = batch.y if halo is None else batch.y.masked_fill(halo[:, None], torch.nan)
        return Comparison.of(
            prediction,
            truth,
            batch.batch,
            batch.num_graphs,
            self.fields,
            measure=batch.measure if self.config.by_measure else None,
            rms=self.normalizer.y_rms,
            std=self.normalizer.y.scale,
            data=batch,
        )


def relative_l2(
    prediction: Tensor,
    truth: Tensor,
    batch: Tensor,
    num_graphs: int,
    fields: Fields,
    *,
    measure: Tensor | None = None,
    rms: Tensor | None = None,
) -> Tensor:
    r"""Relative L2 error of every field on every graph.

    .. math::
        e_{g,f} = \Big(\sum_{i \in g} w_i |\hat y_{i,f} - y_{i,f}|^2 \Big/
                       \sum_{i \in g} w_i |y_{i,f}|^2\Big)^{1/2}

    with :math:`|\cdot|` over the components of a vector field. Nodes whose truth is NaN have none
    and do not count. A field that is zero on a graph (smaller than a millionth of ``rms``) is
    measured against ``rms``.

    Args:
        prediction: ``[R, K]``.
        truth: ``[R, K]``.
        batch: ``[R]`` graph of each node.
        num_graphs: B.
        fields: what the columns are.
        measure: ``[R]`` the w of the nodes, 1 by default: length, area or volume make the sums
            quadratures.
        rms: ``[number of fields]`` usual root mean square of each field; that of ``truth`` by
            default, 1 if all of it is zero.

    Returns:
        ``[B, number of fields]``; NaN where a graph has no truth.
    """
    comparison = Comparison.of(
        prediction, truth, batch, num_graphs, fields, measure=measure, rms=rms
    )
    return _relative_l2(comparison).masked_fill(comparison.count == 0, torch.nan)


def check_objective(config: ObjectiveConfig) -> None:
    """Refuse a loss or an error that there is not.

    Raises:
        ValueError: naming it, and those that there are.
    """
    for key in ("loss", "error"):
        _check_name(f"objective.{key}", getattr(config, key), list(LOSSES))


def _check_name(key: str, name: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise ValueError(
            f"{key} is '{name}', expected one of {', '.join(known)}"
            + (f"; did you mean '{near[0]}'?" if near else "")
        )

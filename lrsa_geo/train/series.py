"""Training on the steps of series: their loaders, and the losses over several steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torch_geometric.data import Batch, Data

from lrsa_geo.data import Known, MeshStore, SeriesConfig, StepView, StoreDataset, stepping_of
from lrsa_geo.mesh import total_width
from lrsa_geo.train.config import OptimConfig
from lrsa_geo.train.datamodule import Part, StoreDataModule
from lrsa_geo.train.module import SurrogateModule
from lrsa_geo.train.objective import ObjectiveConfig
from lrsa_geo.train.rollout import next_example
from lrsa_geo.train.surrogate import Surrogate

MAX_STATISTICS = 4096  # examples that the normalisation is taken from, and those of validation
MAX_VALIDATION = 512


def view_of(store: MeshStore, config: SeriesConfig, series: Sequence[int]) -> StepView:
    """The series of a store as examples of one step, as a configuration has them."""
    return StepView(store, stepping_of(store, config, series))


def some_examples(view: StepView, series: Sequence[int], most: int) -> list[int]:
    """Examples of some series, at most so many: drawn, always the same ones, in order.

    Every so manieth one could be the same step of each series.
    """
    examples = view.examples_of(series)
    if len(examples) <= most:
        return examples
    drawn = np.random.default_rng(0).choice(len(examples), most, replace=False)
    return [examples[number] for number in sorted(drawn.tolist())]


class SeriesDataModule(StoreDataModule):
    """Loaders of the steps of series; ``split`` has the numbers of series.

    Args:
        view: the series as examples.
        others: see :class:`StoreDataModule`.
        series: steps that a training example must know.
    """

    def __init__(self, view: StepView, *others: Any, series: SeriesConfig) -> None:
        super().__init__(view, *others)
        self.series = series
        self.view = view

    def dataset(self, part: Part) -> StoreDataset:
        """Examples of a part: all for training and test, some for validation."""
        series = getattr(self.split, part)
        if part != "train":
            most = MAX_VALIDATION if part == "val" else len(self.view)
            chosen = some_examples(self.view, series, most)
            return self._dataset(self.view, chosen, self.arrays, None)
        ahead = self.series.ahead
        view = self.view if ahead == 1 else StepView(self.view.series, self.view.stepping, ahead)
        later = ["later", "later_cond"] if ahead > 1 else []
        return self._dataset(
            view, view.examples_of(series), [*self.arrays, *later], self._augmentation(view)
        )

    def samples(self, part: Part) -> StoreDataset:
        """The last step of each series of a part."""
        last = [self.view.examples_of([series])[-1] for series in getattr(self.split, part)]
        return self._dataset(self.view, last, self.arrays, None)


class SeriesModule(SurrogateModule):
    r"""Minimises the errors of one step, or of several that follow from each other.

    .. math:: L = \frac 1 k \sum_{j=1}^{k} \ell(\hat u_{n+p+j}, u_{n+p+j})

    over k steps (``unroll``) after p that are not differentiated (``pushforward``, arXiv
    2202.03376). The states that are read carry noise (arXiv 2010.03409): its sum over the history
    is a random walk whose last deviation is ``noise`` times that of a step's change, and the
    targets stay.

    Args:
        surrogate: a model of series, with its normalisation fitted.
        optim: optimiser and schedule.
        objective: loss and errors of the states.
        series: steps, noise.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        optim: OptimConfig,
        objective: ObjectiveConfig | None = None,
        series: SeriesConfig | None = None,
    ) -> None:
        super().__init__(surrogate, optim, objective)
        self.stepping = surrogate.signature.of_series
        self.series = series or SeriesConfig()

    @property
    def unroll(self) -> int:
        """Steps that a loss is differentiated through, at this point of the training."""
        steps = self.series.unrolls
        trainer = self._trainer
        if len(steps) == 1 or trainer is None:
            return steps[0]
        share = trainer.global_step / max(1, int(trainer.estimated_stepping_batches))
        return steps[min(int(share * len(steps)), len(steps) - 1)]

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss of the unrolled steps."""
        data: Data = self._with_noise(batch)
        pushed, unroll = self.series.pushforward, self.unroll
        losses = []
        for step in range(pushed + unroll):
            with torch.set_grad_enabled(torch.is_grad_enabled() and step >= pushed):
                states = self._states(data, checkpointed=unroll > 1)
            if step >= pushed:
                losses.append(self.objective.loss(states, data))
            if step + 1 < pushed + unroll:
                known, truth = self._later(batch, step + 1)
                data = next_example(self.surrogate, self.stepping, data, states, known)
                data.y = truth
        return torch.stack(losses).mean()

    def _states(self, data: Data, *, checkpointed: bool) -> Tensor:
        if not (checkpointed and self.series.checkpoint and torch.is_grad_enabled()):
            return cast(Tensor, self.surrogate(data))
        return cast(Tensor, checkpoint(self.surrogate, data, use_reentrant=False))

    def _later(self, batch: Batch, step: int) -> tuple[Known, Tensor]:
        """What is known of a later step of the examples, and its states."""
        stepping = self.stepping
        states, known = total_width(stepping.states), total_width(stepping.known_x)
        start = (step - 1) * (states + known)
        truth = batch.later[:, start : start + states]
        x_t = batch.later[:, start + states : start + states + known]
        conds = total_width(stepping.known_cond)
        cond_t = batch.later_cond[:, (step - 1) * conds : step * conds]
        given = batch.get("given")
        if given is not None:  # the same nodes in each step
            given = torch.where(given.isnan(), torch.nan, truth)
        return Known(x_t, cond_t, given), truth

    def _with_noise(self, batch: Batch) -> Batch:
        stepping, noise = self.stepping, self.series.noise
        if not noise or not torch.is_grad_enabled():
            return batch
        noisy: Batch = batch.clone()
        fed, _ = stepping.columns_on(batch.x.device)
        deviation = self.surrogate.normalizer.y.scale[fed]
        width, age = len(fed), stepping.history
        steps = torch.randn(age, len(batch.x), width, device=batch.x.device)
        walk = steps.flip(0).cumsum(0).flip(0) / math.sqrt(age)  # the newest has moved most
        walk = walk * (noise * deviation)
        given = batch.get("given")
        if given is not None:
            walk = torch.where(given[:, fed].isnan(), walk, 0)
        start = batch.x.shape[1] - age * width
        past = batch.x[:, start:] + walk.transpose(0, 1).reshape(len(batch.x), -1)
        noisy.x = torch.cat([batch.x[:, :start], past], dim=1)
        return noisy

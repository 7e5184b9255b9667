"""A moving average of the weights while they are trained."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging


class MovingAverage(WeightAveraging):
    r"""Keep an exponential moving average of the weights: what is validated, tested and saved.

    .. math:: \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n) \theta_n, \qquad
        d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big), \qquad \bar\theta_0 = \theta_0

    after the optimiser's step n = 0, 1, 2, ... A short average at first forgets the weights at the
    start. The checkpoint holds both.

    Args:
        decay: d; an average over about 1 / (1 - d) steps.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False)
        self.decay = decay

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the average, if the optimiser made a step.

        Lightning's own way asks the device for the number of steps, and waits for the answer.
        """
        n = trainer.global_step - 1
        if n < self._latest_update_step:  # gradients of this batch wait for those of the next
            return
        self._latest_update_step = n + 1
        kept = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        assert self._average_model is not None
        average = self._average_model.module
        for mean, weights in zip(average.parameters(), pl_module.parameters(), strict=True):
            mean.lerp_(weights, 1 - kept)
        for copy, constants in zip(average.buffers(), pl_module.buffers(), strict=True):
            copy.copy_(constants)

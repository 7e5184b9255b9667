"""A moving average of the weights while they are trained."""

from __future__ import annotations

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class MovingAverage(WeightAveraging):
    r"""Keep an exponential moving average of the weights: what is validated, tested and saved.

    .. math:: \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n) \theta_n, \qquad
        d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big)

    A short average at first forgets the weights at the start. The checkpoint holds both.

    Args:
        decay: d; an average over about 1 / (1 - d) steps.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

        def averaged(average: Tensor, weights: Tensor, steps: Tensor | int) -> Tensor:
            return average.lerp(weights, 1 - min(decay, (1 + int(steps)) / (10 + int(steps))))

        super().__init__(use_buffers=False, avg_fn=averaged)

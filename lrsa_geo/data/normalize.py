"""Normalisation by the statistics of the training graphs, which are kept with the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lrsa_geo.data.statistics import Statistics
from lrsa_geo.data.store import MeshStore
from lrsa_geo.mesh.fields import Fields, column_slices, total_width


class Affine(nn.Module):
    """x -> (x - shift) / scale, column by column, and back."""

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def set(self, shift: Tensor, scale: Tensor) -> None:
        """Take over the statistics; a scale of zero (a constant column) becomes one."""
        self.shift.copy_(shift)
        self.scale.copy_(torch.where(scale > 0, scale, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Physical to normalised."""
        return (x - self.shift) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Normalised to physical."""
        return x * self.scale + self.shift


class Positions(Affine):
    """The same for positions: a mesh may be small and far from the origin.

    ``shift`` and ``scale`` stay float64 whatever the model is cast to (float32 on devices without
    double precision). Positions in double precision are shifted in it; the result has the precision
    of the model.
    """

    _model: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.shift, self.scale = self.shift.double(), self.scale.double()
        self.register_buffer("_model", torch.empty(0), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Positions:
        self._model = fn(self._model)
        device = self._model.device
        precise = torch.float32 if device.type == "mps" else torch.float64
        self.shift, self.scale = self.shift.to(device, precise), self.scale.to(device, precise)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Physical to normalised."""
        precise = torch.promote_types(x.dtype, self._model.dtype)
        normalised = (x.to(precise) - self.shift.to(precise)) / self.scale.to(precise)
        return normalised.to(self._model.dtype)


class Normalizer(nn.Module):
    """Makes inputs of order one, and physical values of a network's outputs.

    - positions: shifted and scaled by one factor, so that the training meshes fill [-1, 1] along
      their longest axis and shapes keep their proportions;
    - ``x``, ``cond``: each column to mean 0 and standard deviation 1;
    - ``y``: likewise, but the components of a vector share one scale. Nodes where ``y`` is NaN have
      no target and do not count.

    Args:
        pos_dim: D.
        fields: columns of ``x``, ``y`` and ``cond``.

    Attributes:
        y_rms: ``[number of fields]`` root mean square of each target, over nodes; 1 where it is 0.
    """

    y_rms: Tensor

    def __init__(self, pos_dim: int, fields: dict[str, Fields]) -> None:
        super().__init__()
        self.fields = fields
        self.pos = Positions(pos_dim)
        self.x = Affine(total_width(fields.get("x", ())))
        self.y = Affine(total_width(fields.get("y", ())))
        self.cond = Affine(total_width(fields.get("cond", ())))
        self.register_buffer("y_rms", torch.ones(len(fields.get("y", ()))))

    def fit(
        self, store: MeshStore, indices: Iterable[int], *, relative_positions: bool = False
    ) -> None:
        """Take the statistics of the graphs ``indices`` of a store; no other graph is read.

        One graph is in memory at a time.

        Args:
            store: the graphs.
            indices: which of them.
            relative_positions: each graph counts from its own mean position.

        Raises:
            ValueError: there is no graph, or none with a node.
        """
        self.take(
            Statistics.of_store(store, indices, self.fields, relative_positions=relative_positions)
        )

    def take(self, statistics: Statistics) -> None:
        """Take statistics that were gathered with these fields.

        Where they have a ``change``, what a network is to give in place of ``y``, the values of
        ``y`` are made of its mean and deviation.
        """
        low, high = statistics.ends["pos"].low, statistics.ends["pos"].high
        self.pos.set((low + high) / 2, ((high - low).max() / 2).expand(len(low)))
        for array, of_array in statistics.moments.items():
            scale = of_array.variance.sqrt()
            columns = column_slices(self.fields.get("y", ())).values()
            if array in ("y", "change"):
                for of_field in columns:
                    scale[of_field] = scale[of_field].square().mean().sqrt()
            if array == "y":
                squares = of_array.mean.square() + of_array.variance
                rms = torch.stack([squares[of_field].sum() for of_field in columns]).sqrt()
                self.y_rms.copy_(torch.where(rms > 0, rms, 1.0))
            if array == "y" and "change" in statistics.moments:
                continue
            into = {"x": self.x, "y": self.y, "change": self.y, "cond": self.cond}
            into[array].set(of_array.mean, scale)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Files of lrsa_geo 0.1 have no ``y_rms``: it follows from shift and scale."""
        if f"{prefix}y_rms" not in state_dict and f"{prefix}y.shift" in state_dict:
            shift, scale = state_dict[f"{prefix}y.shift"], state_dict[f"{prefix}y.scale"]
            squares = shift.double().square() + scale.double().square()
            columns = column_slices(self.fields.get("y", ())).values()
            rms = [squares[of_field].sum().sqrt() for of_field in columns]
            state_dict[f"{prefix}y_rms"] = torch.stack(rms) if rms else torch.ones(0)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

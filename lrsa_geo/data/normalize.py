"""Statistics of a training split, kept with the model that was trained on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    """

    def __init__(self, pos_dim: int, fields: dict[str, Fields]) -> None:
        super().__init__()
        self.fields = fields
        self.pos = Affine(pos_dim)
        self.x = Affine(total_width(fields.get("x", ())))
        self.y = Affine(total_width(fields.get("y", ())))
        self.cond = Affine(total_width(fields.get("cond", ())))

    def fit(
        self, store: MeshStore, indices: list[int], *, relative_positions: bool = False
    ) -> None:
        """Take the statistics of the graphs ``indices`` of a store; no other graph is read.

        With ``relative_positions`` each graph counts from its own mean position.
        """
        graphs = [store[i] for i in indices]
        places = [data.pos.double() for data in graphs]
        if relative_positions:
            places = [pos - pos.mean(0) for pos in places]
        pos = torch.cat(places)
        low, high = pos.amin(0), pos.amax(0)
        self.pos.set((low + high) / 2, ((high - low).max() / 2).expand(len(low)))
        for array in self.fields:
            values = torch.cat([data[array] for data in graphs]).double()
            mean = values.nanmean(0)
            scale = (values - mean).square().nanmean(0).sqrt()
            if array == "y":
                for columns in column_slices(self.fields["y"]).values():
                    scale[columns] = scale[columns].square().mean().sqrt()
            {"x": self.x, "y": self.y, "cond": self.cond}[array].set(mean, scale)

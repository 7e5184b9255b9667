"""Stepping: what a model of a series reads at a time, and what it gives for the next one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.mesh.fields import Field, Fields, column_slices, total_width

# In whatever unit the times and the positions of the series have.
TIME_STEP = Field("time_step")
TIME = Field("time")
MOTION = "mesh_motion"


@dataclass
class SeriesConfig:
    """How a model learns from series; graphs that are no series do not read it.

    Args:
        mode: "step": from the states so far to the next one; "time": from the first states and a
            time to the state at that time, without steps between.
        history: states that an example reads: the last ones, in the mode "time" the first ones.
        residual: the network gives the change over a step, not the next state itself.
        feeds: fields that the next step reads; null for all. The others are only predicted, such
            as a pressure that follows from the velocity.
        prescribed: boundary markers of the nodes at which a field is given and stays so, such as
            {U: [1, 2]}: what the series says there, or where it ends, its last values.
        unroll: steps through which a loss is differentiated; a list such as [1, 2, 4] takes one
            after the other, each for an equal share of the training.
        pushforward: steps before those, not differentiated, that make the model's own errors its
            input.
        noise: standard deviation of the noise on the states that are read, over that of a step's
            change. The target stays, so the model learns to take the noise back.
        checkpoint: work out the inside of each unrolled step again in the backward pass, so that
            several steps need little more memory than one.
    """

    mode: Literal["step", "time"] = "step"
    history: int = 1
    residual: bool = True
    feeds: list[str] | None = None
    prescribed: dict[str, list[int]] = field(default_factory=dict)
    unroll: int | list[int] = 1
    pushforward: int = 0
    noise: float = 0.0
    checkpoint: bool = True

    @property
    def unrolls(self) -> list[int]:
        """Steps that are differentiated through, one number for each part of the training."""
        return [self.unroll] if isinstance(self.unroll, int) else list(self.unroll)

    @property
    def ahead(self) -> int:
        """Steps that an example of the training must know."""
        return self.pushforward + max(self.unrolls)


@dataclass(frozen=True)
class Known:
    """What is known beforehand of a step that is to come.

    Attributes:
        x_t: ``[R, F]`` inputs of time at the step's end, the motion of the mesh included.
        cond_t: ``[B, P]`` conditions of time, the length of the step included.
        given: ``[R, K]`` values of prescribed nodes, NaN elsewhere; None if none is prescribed.
    """

    x_t: Tensor
    cond_t: Tensor
    given: Tensor | None


@dataclass(frozen=True)
class Stepping:
    r"""What an example of a series reads and what it gives.

    .. math:: u(t_{n+1}) = u(t_n) + f\big(u(t_n), \dots, u(t_{n-h+1}), x, x_t(t_{n+1})\big)

    The columns of ``x`` are those of the graph, then the inputs of time at the end of the step, the
    motion of the mesh over it, and the fields that feed, newest first. ``cond`` is that of the
    graph, then the conditions of time, and the length of the step if steps differ; in the mode
    "time" the time since the first step.

    Attributes:
        states, x, x_t, cond, cond_t: fields of the series.
        dim: D, of a mesh that moves; 0 of one that does not.
        mode, history, residual: see :class:`SeriesConfig`.
        feeds: fields that the next step reads.
        prescribed: field -> boundary markers.
        time_step: length of the training's steps; None if they differ.
        horizon: steps of the longest series of the training.
    """

    states: Fields
    x: Fields = ()
    x_t: Fields = ()
    cond: Fields = ()
    cond_t: Fields = ()
    dim: int = 0
    mode: Literal["step", "time"] = "step"
    history: int = 1
    residual: bool = True
    feeds: tuple[str, ...] = ()
    prescribed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    time_step: float | None = None
    horizon: int = 0

    def __str__(self) -> str:
        names = ", ".join(f.name for f in self.states)
        if not self.steps:
            return f"{names} at a time"
        length = "of any length" if self.time_step is None else f"of {self.time_step:.4g}"
        past = "the last state" if self.history == 1 else f"the last {self.history} states"
        return f"{names} after a step {length}, from {past}"

    @property
    def steps(self) -> bool:
        """Whether a state is predicted from the one before it."""
        return self.mode == "step"

    @cached_property
    def fed(self) -> Fields:
        """The fields that the next step reads."""
        return tuple(f for f in self.states if f.name in self.feeds)

    @cached_property
    def known_x(self) -> Fields:
        """Inputs of time, with the motion of the mesh over a step."""
        axes = ("x", "y", "z")[: self.dim]
        moves = self.dim > 0 and self.steps
        return (*self.x_t, *((Field(MOTION, components=axes),) if moves else ()))

    @cached_property
    def known_cond(self) -> Fields:
        """Conditions of time, with the length of the step or the time."""
        if not self.steps:
            return (*self.cond_t, TIME)
        return (*self.cond_t, *((TIME_STEP,) if self.time_step is None else ()))

    @cached_property
    def fields(self) -> dict[str, Fields]:
        """Columns of the arrays of an example."""
        past = [
            replace(f, name=f"{f.name}({self._word(age)})")
            for age in range(self.history)
            for f in self.fed
        ]
        x = (*self.x, *self.known_x, *past)
        cond = (*self.cond, *self.known_cond)
        return {"y": self.states} | ({"x": x} if x else {}) | ({"cond": cond} if cond else {})

    def _word(self, age: int) -> str:
        if not self.steps:
            return f"t_{age}"
        return f"t-{age}" if age else "t"

    @cached_property
    def fed_columns(self) -> list[int]:
        """Columns of the states that the next step reads."""
        slices = column_slices(self.states)
        return [c for f in self.fed for c in range(slices[f.name].start, slices[f.name].stop)]

    @property
    def _changes(self) -> bool:
        """The network gives the change of a state, not the state, where there is one to change."""
        return bool(self.residual and self.steps and self.fed)

    @cached_property
    def _devices(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def columns_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Which columns of the states the next step reads, and which ones the network changes.

        They are brought to a device once: a copy in every step would hold back a GPU.

        Returns:
            ``[W]`` numbers, the :attr:`fed_columns`, and ``[K] bool``.
        """
        if device not in self._devices:
            changing = torch.zeros(total_width(self.states), dtype=torch.bool)
            if self._changes:
                changing[self.fed_columns] = True
            fed = torch.tensor(self.fed_columns, dtype=torch.long)
            self._devices[device] = fed.to(device), changing.to(device)
        return self._devices[device]

    @cached_property
    def _past(self) -> slice:
        """Columns of ``x`` with the states that are read."""
        start = total_width((*self.x, *self.known_x))
        return slice(start, start + self.history * len(self.fed_columns))

    def past_of(self, states: Tensor) -> Tensor:
        """``[N, h, K]``, oldest first -> ``[N, h width]`` of the fields that feed."""
        past = states.index_select(-1, self.columns_on(states.device)[0])
        past = past.flip(1) if self.steps else past
        return past.reshape(len(states), self.history * len(self.fed_columns))

    def last(self, x: Tensor) -> Tensor:
        """``[R, K]``: the newest state among the columns of an example; 0 of what is not read."""
        last = x.new_zeros(len(x), total_width(self.states))
        if self.history:
            start = self._past.start
            columns, _ = self.columns_on(x.device)
            last.index_copy_(1, columns, x[:, start : start + len(columns)])
        return last

    def complete(self, y: Tensor, data: Data) -> Tensor:
        """The next state, of what the network gives: its change, and given values where it has."""
        if self._changes:
            _, changing = self.columns_on(y.device)
            y = torch.where(changing, y + self.last(data.x), y)
        given = data.get("given")
        return y if given is None else torch.where(given.isnan(), y, given)

    def advance(self, data: Data, states: Tensor, known: Known) -> Data:
        """The example of the next step, in which ``states [R, K]`` are the newest.

        A graph or a batch; its ``layout`` stays, since nodes and edges do.
        """
        later = copy.copy(data)
        start, width = self._past.start, len(self.fed_columns)
        static = total_width(self.x)
        if "x" in self.fields:
            older = data.x[:, start : self._past.stop - width]
            fed = states.index_select(1, self.columns_on(states.device)[0]).to(data.x.dtype)
            later.x = torch.cat([data.x[:, :static], known.x_t, fed, older], dim=1)
        if self.known_cond:
            later.cond = torch.cat([data.cond[:, : total_width(self.cond)], known.cond_t], dim=1)
        if self.dim:
            motion = data.x[:, start - self.dim : start]
            later.pos = data.pos + motion.to(data.pos.dtype)
        if known.given is not None:
            later.given = known.given
        return later

    def given(self, states: Tensor, boundary: Tensor) -> Tensor:
        """``[N, ..., K]``: the states at the nodes where they are prescribed, NaN elsewhere."""
        kept = torch.zeros(len(boundary), states.shape[-1], dtype=torch.bool)
        slices = column_slices(self.states)
        for name, markers in self.prescribed.items():
            there = torch.isin(boundary, torch.tensor(markers, dtype=boundary.dtype))
            kept[:, slices[name]] |= there[:, None]
        kept = kept if states.dim() == 2 else kept[:, None]
        return torch.where(kept, states, torch.nan)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        fields = ("states", "x", "x_t", "cond", "cond_t")
        plain = {name: [f.to_dict() for f in getattr(self, name)] for name in fields}
        prescribed = {name: list(markers) for name, markers in self.prescribed.items()}
        others = {k: v for k, v in asdict(self).items() if k not in fields}
        return others | plain | {"feeds": list(self.feeds), "prescribed": prescribed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Stepping:
        """The inverse of :meth:`to_dict`."""
        fields = ("states", "x", "x_t", "cond", "cond_t")
        read: dict[str, Any] = dict(values)
        read |= {name: tuple(Field.from_dict(f) for f in values[name]) for name in fields}
        read["feeds"] = tuple(values["feeds"])
        read["prescribed"] = {n: tuple(markers) for n, markers in values["prescribed"].items()}
        return cls(**read)

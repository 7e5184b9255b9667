"""StepView: the series of a MeshStore, seen as one example for each step."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.data.matching import MismatchError, match_store
from lrsa_geo.data.stepping import Known, SeriesConfig, Stepping
from lrsa_geo.data.store import MeshStore, StoreView
from lrsa_geo.mesh.fields import Fields
from lrsa_geo.mesh.mesh_data import MeshData

EQUAL = 1e-4  # of a step, by which steps of equal length may differ
_SERIES = ("states", "x_t", "pos_t", "times", "cond_t")
# What an example has beside the arrays of a steady graph.
_OF_STEPS = ("given", "change", "later", "later_cond")


class StepView(StoreView):
    """The series of a store as examples, each of which is a graph with ``x`` and ``y``.

    An example is a series and the step that is predicted; :class:`Stepping` says what it reads.
    One is read with one contiguous read of the file, whatever the length of the series. Beside
    ``x``, ``y`` and ``cond`` it has

    - ``given [N, K]``: prescribed values at the end of the step, NaN elsewhere;
    - ``change [N, K]``: what the network is to give, ``y`` minus the state before where it gives
      changes;
    - ``later [N, (a - 1) (K + F)]`` and ``later_cond [1, (a - 1) P]``: the states and the known
      inputs of the ``a - 1`` steps after that.

    Args:
        series: store of series.
        stepping: what an example is.
        ahead: a, steps that each example knows.

    Attributes:
        series: the store.
        stepping: what an example is.

    Raises:
        ValueError: a series is too short.
    """

    def __init__(self, series: MeshStore, stepping: Stepping, ahead: int = 1) -> None:
        super().__init__(series)
        self.series = series
        self.stepping = stepping
        self.ahead = ahead
        later = tuple(
            replace(f, name=f"{f.name}(t+{1 + k})")
            for k in range(1, ahead)
            for f in (*stepping.states, *stepping.known_x)
        )
        self.fields = {**stepping.fields, "change": stepping.states, "given": stepping.states}
        self.fields |= {"later": later} if later else {}
        counts = series.num_steps - stepping.history - ahead + 1
        if (counts < 1).any():
            short = int(np.flatnonzero(counts < 1)[0])
            raise ValueError(
                f"{series.path}: series {short} has {series.num_steps[short]} steps, and an example"
                f" takes {stepping.history + ahead} (history {stepping.history} and {ahead} ahead);"
                " lower series.history or series.unroll, or leave the series out"
            )
        self._first = np.concatenate([[0], np.cumsum(counts)])

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays that every example can have."""
        own = [a for a in self.series.arrays if a not in (*_SERIES, "x", "y", "cond")]
        steps = ["change", *(["given"] if self.stepping.prescribed else [])]
        later = ["later", "later_cond"] if self.ahead > 1 else []
        return [*own, *self.stepping.fields, *steps, *later]

    @property
    def _changing_arrays(self) -> list[str]:
        """Arrays that the examples of a series do not share."""
        moving = ["pos"] if self.stepping.dim and self.stepping.steps else []
        return [*moving, "x", "y", "cond", *_OF_STEPS]

    @property
    def num_nodes(self) -> np.ndarray:
        """Nodes of every example."""
        return np.repeat(self.series.num_nodes, np.diff(self._first))

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"StepView({self.path}, {len(self.series)} series, {len(self)} steps)"

    def place(self, index: int) -> tuple[int, int]:
        """Number of the series, and the step that is predicted, of an example."""
        series = int(np.searchsorted(self._first, index, "right")) - 1
        return series, index - int(self._first[series]) + self.stepping.history

    def mesh_number(self, index: int) -> int:
        """Number of the series, whose examples share one mesh."""
        return self.place(range(len(self))[index])[0]

    def examples_of(self, series: Sequence[int]) -> list[int]:
        """Numbers of the examples of some series, in order."""
        return [i for g in series for i in range(int(self._first[g]), int(self._first[g + 1]))]

    def example(self, series: int, step: int) -> int:
        """Number of the example of a series in which ``step`` is predicted."""
        return int(self._first[series]) + step - self.stepping.history

    def known(self, series: int, step: int) -> Known:
        """What a series says beforehand of the step that ends at ``step``."""
        arrays = ["boundary"] if self.stepping.prescribed else []
        wanted = [a for a in _SERIES if a in self.series.arrays]
        first = step - self.stepping.steps  # a step has a beginning, a time has none
        steps = self.series.window(series, first, step + 1, wanted)
        return self._known(self.series.arrays_of(series, arrays), steps, step - first)

    def __getitem__(self, index: int) -> MeshData:
        number = range(len(self))[index]
        data = MeshData().update(self._read(number, self.arrays))
        data.num_nodes = len(data.pos)
        return data

    def arrays_of(self, index: int, arrays: list[str]) -> dict[str, Tensor]:
        """Some arrays of an example; the others are not read."""
        graph = self._read(range(len(self))[index], arrays)
        return {array: graph[array] for array in arrays}

    def _read(self, index: int, arrays: Sequence[str]) -> dict[str, Any]:
        number, step = self.place(index)
        known, wanted = self.series.arrays, set(arrays)
        own = [a for a in known if a in wanted and a not in (*_SERIES, "y")]
        own += ["x"] if self.stepping.x and "change" in wanted and "x" not in wanted else []
        own += ["boundary"] if "given" in wanted and "boundary" not in wanted else []
        graph: dict[str, Any] = self.series.arrays_of(number, own)
        if wanted.isdisjoint(self._changing_arrays):
            return graph
        first = step - self.stepping.history if self.stepping.steps else step
        steps = self.series.window(
            number, first, step + self.ahead, [a for a in _SERIES if a in known]
        )
        past = steps["states"][:, : step - first]
        if not self.stepping.steps:
            past, start = self._first_states(number)
            steps["times"] = steps["times"] - start
        return graph | self._arrays_of_step(graph, past, steps, step - first, wanted)

    def _first_states(self, number: int) -> tuple[Tensor, float]:
        """States that an example of the mode "time" reads, and when the series begins."""
        first = self.series.window(number, 0, max(1, self.stepping.history), ["states", "times"])
        return first["states"][:, : self.stepping.history], float(first["times"][0])

    def _arrays_of_step(
        self,
        graph: Mapping[str, Tensor],
        past: Tensor,
        steps: dict[str, Tensor],
        now: int,
        wanted: set[str],
    ) -> dict[str, Any]:
        """The arrays that change from step to step; ``now`` is the one that is predicted."""
        stepping, states = self.stepping, steps["states"]
        known = [self._known(graph, steps, now + k) for k in range(self.ahead)]
        y = states[:, now].contiguous()
        found: dict[str, Any] = {"y": y, "change": y}
        if "x" in stepping.fields and wanted & {"x", "change"}:
            own = [graph["x"]] if stepping.x else []
            found["x"] = torch.cat([*own, known[0].x_t, stepping.past_of(past)], dim=1)
            _, changing = stepping.columns_on(y.device)
            found["change"] = y - stepping.last(found["x"]) * changing
        if "cond" in stepping.fields and "cond" in wanted:
            own = [graph["cond"]] if stepping.cond else []
            found["cond"] = torch.cat([*own, known[0].cond_t], dim=1)
        if stepping.dim and stepping.steps:
            found["pos"] = steps["pos_t"][:, now - 1].contiguous()
        if known[0].given is not None:
            found["given"] = known[0].given
        if self.ahead > 1:
            rest = range(1, self.ahead)
            parts = [p for k in rest for p in (states[:, now + k], known[k].x_t)]
            found["later"] = torch.cat(parts, dim=1)
            found["later_cond"] = torch.cat([known[k].cond_t for k in rest], dim=1)
        return found

    def _known(self, graph: Mapping[str, Tensor], steps: dict[str, Tensor], now: int) -> Known:
        stepping, nodes = self.stepping, len(steps["states"])
        x_t = [steps["x_t"][:, now]] if stepping.x_t else [torch.zeros(nodes, 0)]
        cond_t = [steps["cond_t"][now : now + 1]] if stepping.cond_t else [torch.zeros(1, 0)]
        if stepping.steps:
            if stepping.dim:
                x_t.append((steps["pos_t"][:, now] - steps["pos_t"][:, now - 1]).float())
            if stepping.time_step is None:
                cond_t.append(steps["times"][now - 1 : now + 1].diff()[None].float())
        else:
            cond_t.append(steps["times"][now : now + 1][None].float())
        given = None
        if stepping.prescribed and "boundary" in graph:
            given = stepping.given(steps["states"][:, now], graph["boundary"])
        return Known(torch.cat(x_t, 1), torch.cat(cond_t, 1), given)


def stepping_of(store: MeshStore, config: SeriesConfig, series: Sequence[int]) -> Stepping:
    """What an example of these series is, by a configuration.

    Args:
        store: of series.
        config: what is asked for.
        series: numbers of those that are trained on.

    Raises:
        ValueError: the configuration does not fit the store; the message names the value.
    """
    _check(store, config)
    times = [store.arrays_of(number, ["times"])["times"] for number in series]
    steps = torch.cat([of_series.diff() for of_series in times])
    same = len(steps) > 0 and float(steps.max() - steps.min()) <= EQUAL * float(steps.max())
    states = store.fields["states"]
    return Stepping(
        states=states,
        x=store.fields.get("x", ()),
        x_t=store.fields.get("x_t", ()),
        cond=store.fields.get("cond", ()),
        cond_t=store.fields.get("cond_t", ()),
        dim=_dim(store, series[0]) if "pos_t" in store.arrays else 0,
        mode=config.mode,
        history=config.history,
        residual=config.residual,
        feeds=tuple(f.name for f in states if config.feeds is None or f.name in config.feeds),
        prescribed={name: tuple(markers) for name, markers in config.prescribed.items()},
        time_step=float(steps.median()) if same else None,
        horizon=max(len(of_series) for of_series in times),
    )


def _dim(store: MeshStore, series: int) -> int:
    return store.arrays_of(series, ["pos"])["pos"].shape[1]


def match_series(store: MeshStore, stepping: Stepping) -> MeshStore:
    """The store with the columns of a model of series, see :func:`match_store`.

    Raises:
        MismatchError: its graphs are no series, or lack a field.
    """
    if not store.is_series:
        raise MismatchError(
            f"{store.path}: its graphs are no series, and the model was trained on series; make it"
            " with `lrsa-geo data make --series`"
        )
    arrays = ("states", "x", "x_t", "cond", "cond_t")
    return match_store(store, {a: getattr(stepping, a) for a in arrays if getattr(stepping, a)})


def _check(store: MeshStore, config: SeriesConfig) -> None:
    fields: Fields = store.fields["states"]
    names = [f.name for f in fields]
    least = 1 if config.mode == "step" else 0
    if config.mode not in ("step", "time"):
        raise ValueError(f"series.mode is '{config.mode}', expected step or time")
    if config.history < least:
        raise ValueError(f"series.history is {config.history}, expected {least} or more")
    shortest = int(store.num_steps.min())
    if config.history >= shortest:
        raise ValueError(
            f"series.history is {config.history}, and the shortest series of {store.path} has"
            f" {shortest} steps; lower it"
        )
    for key, wanted in (("feeds", config.feeds or ()), ("prescribed", config.prescribed)):
        for name in wanted:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise ValueError(
                    f"series.{key} names '{name}', the states are {', '.join(names)}"
                    + (f"; did you mean '{near[0]}'?" if near else "")
                )
    if config.prescribed and "boundary" not in store.arrays:
        raise ValueError(f"series.prescribed: the graphs of {store.path} have no boundary markers")
    if not config.unrolls or min(config.unrolls) < 1:
        raise ValueError(f"series.unroll is {config.unroll}, expected 1 or more")
    if config.pushforward < 0 or not 0 <= config.noise < float("inf"):
        raise ValueError(
            f"series.pushforward is {config.pushforward} and series.noise {config.noise}, expected"
            " 0 or more"
        )
    if config.mode == "time" and (config.ahead > 1 or config.noise):
        raise ValueError(
            "series.mode is 'time', in which no step follows another: unroll must be 1, pushforward"
            " and noise 0"
        )

"""From a series of meshes to one graph: states at all steps, what changes and what moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from lrsa_geo.data.columns import GEOMETRY, cond_row, has_field, node_columns, refuse_sizes
from lrsa_geo.data.course import Course
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Fields, column_slices
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.series import MeshSeries

if TYPE_CHECKING:
    from lrsa_geo.data.reader import GraphReader

_SAME_TIME = 1e-6  # of the shortest step: by which a time may be before the first wanted one


@dataclass(frozen=True)
class SeriesReading:
    """How a series of meshes becomes a graph.

    Args:
        every: take every so many steps.
        from_time: leave out the steps before this time.
        changing: inputs that change with time, columns of ``x_t``; None where that is still to be
            seen from the files.
        moves: nodes move, so that the graphs have ``pos_t``; None where that is still to be seen.
        cond_in_time: parameters are functions of time, ``cond_t``.
    """

    every: int = 1
    from_time: float | None = None
    changing: tuple[str, ...] | None = None
    moves: bool | None = None
    cond_in_time: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        changing = None if self.changing is None else list(self.changing)
        return {
            **{"every": self.every, "from_time": self.from_time},
            **{"changing": changing, "moves": self.moves},
            **({"cond_in_time": True} if self.cond_in_time else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SeriesReading:
        """The inverse of :meth:`to_dict`."""
        changing = values.get("changing")
        return cls(
            values.get("every", 1),
            values.get("from_time"),
            None if changing is None else tuple(changing),
            values.get("moves"),
            values.get("cond_in_time", False),
        )

    def steps(self, series: MeshSeries, least: int = 2) -> list[int]:
        """Numbers of the steps that are taken.

        Raises:
            MeshError: there are fewer than ``least``.
        """
        if self.every < 1:
            raise MeshError(f"every is {self.every}, expected 1 or more")
        times = series.times
        if least == len(times) == 1:
            return [0]  # the first state of a new case, whatever its time
        wanted = torch.ones(len(times), dtype=torch.bool)
        if self.from_time is not None:
            shortest = float(times.diff().min()) if len(times) > 1 else 0.0
            wanted = times >= self.from_time - _SAME_TIME * shortest
        steps: list[int] = wanted.nonzero()[:, 0].tolist()[:: self.every]
        if len(steps) < least:
            which = f", with every = {self.every}" * (self.every > 1)
            which += "" if self.from_time is None else f", from time {self.from_time:g} on"
            raise MeshError(
                f"{series.name}: has {len(times)} steps at times {float(times[0]):g} to"
                f" {float(times[-1]):g}{which}: {len(steps)} of them are taken, expected {least} or"
                " more; leave it out, or take more of its steps"
            )
        return steps

    def fields(self, inputs: Fields) -> dict[str, Fields]:
        """The inputs as columns of ``x`` and ``x_t``."""
        changing = self.changing or ()
        return {
            "x": tuple(field for field in inputs if field.name not in changing),
            "x_t": tuple(field for field in inputs if field.name in changing),
        }


def series_graph(
    reader: GraphReader,
    series: MeshSeries,
    cond: Mapping[str, float] | Course | None = None,
    truth: bool = True,
) -> MeshData:
    """The graph of a series.

    Args:
        reader: with ``series`` set. Where it does not know which inputs change and whether nodes
            move, the graph has ``first [N, F]``, all inputs at the first step, ``x_t`` with those
            that change and ``changes [F]``, which these are; :func:`arrange` makes the rest.
        series: its meshes.
        cond: name -> value of each column of ``cond``, or the course of those of ``cond_t``.
        truth: demand the targets and two steps; otherwise the graph has ``states`` only if the
            first step has all targets.

    Raises:
        MeshError: a field is missing or not finite at a step; the message names step and time.
    """
    how = reader.series or SeriesReading()
    steps = how.steps(series, 2 if truth else 1)
    of_time = _OfTime(reader, len(steps))
    graph = MeshData()
    for place, (step, mesh) in enumerate(zip(steps, series.meshes(steps), strict=True)):
        where = series.where(step)
        mesh = reader.prepared(mesh, where)
        if place == 0:
            steady = replace(reader, series=None, inputs=(), targets=(), cond=())
            graph = steady.graph(mesh, where=series.name)
            with_states = truth or all(has_field(mesh, f.name) for f in reader.targets)
        elif len(mesh.pos) != len(graph.pos):
            raise MeshError(
                f"{where}: {len(mesh.pos):,} nodes are left when nodes at one place are made one,"
                f" {len(graph.pos):,} at the first step; do without merge_nodes (--merge-nodes), or"
                " merge them before"
            )
        of_time.add(place, mesh, where, with_states)
    graph.times = series.times[steps].clone()
    of_time.finish(graph, series.name, with_states)
    if reader.cond:
        _add_cond(graph, reader.cond, how, cond, series.name)
    if how.changing is not None and how.moves is not None:
        _refuse_unlike(how, reader.inputs, graph, series.name)
        arrange(graph, reader.inputs, how)
    return graph


def _add_cond(
    graph: MeshData,
    fields: Fields,
    how: SeriesReading,
    cond: Mapping[str, float] | Course | None,
    name: str,
) -> None:
    """``cond``, or ``cond_t`` of parameters that are functions of time."""
    if not how.cond_in_time:
        if isinstance(cond, Course):
            raise MeshError(
                f"{name}: the parameters {', '.join(cond.names)} of {cond.path} are functions of"
                " time, and the store or model was made of numbers; leave the column 'time' out"
            )
        graph.cond = cond_row(fields, cond, name)
        return
    if not isinstance(cond, Course):
        raise MeshError(
            f"{name}: the parameters {', '.join(f.name for f in fields)} are functions of time;"
            " give a table with a column 'time'"
        )
    values = cond.at(graph.times, fields, name)
    for field, column in zip(fields, values.T, strict=True):
        refuse_sizes(column, field.name, name)
    graph.cond_t = values.float()


class _OfTime:
    """States, inputs and positions at all steps, gathered one after the other.

    Args:
        reader: which fields.
        steps: T.
    """

    def __init__(self, reader: GraphReader, steps: int) -> None:
        self.reader = reader
        self.steps = steps
        self.states = torch.empty(0)
        self.inputs: list[Tensor] = []  # at the first step
        self.changing: dict[int, Tensor] = {}  # number of an input -> [N, T, columns]
        self.pos = torch.empty(0)
        self.pos_t: Tensor | None = None
        self.largest: dict[str, float] = {}

    def add(self, place: int, mesh: MeshData, where: str, with_states: bool) -> None:
        """Take a step.

        Raises:
            MeshError: it lacks a field, or has a value that is none.
        """
        reader = self.reader
        pos = mesh.pos
        if place == 0:
            self.pos = pos
        pos = pos.to(self.pos.dtype)
        if self.pos_t is None and not torch.equal(pos, self.pos):
            self.pos_t = self.pos[:, None].repeat(1, self.steps, 1)
        if self.pos_t is not None:
            self.pos_t[:, place] = pos
        if with_states and reader.targets:
            values = node_columns(mesh, reader.targets, where, known=True)
            if place == 0:
                self.states = torch.empty(len(values), self.steps, values.shape[1])
            self.states[:, place] = values.float()
            self._note(reader.targets, values)
        for number, described in enumerate(reader.inputs):
            if place and not has_field(mesh, described.name) and described.name in GEOMETRY:
                continue  # of the first step, also where the mesh moves
            values = node_columns(mesh, (described,), where, geometry=True, known=True)
            self._note((described,), values)
            self._input(place, number, values.float())

    def _input(self, place: int, number: int, values: Tensor) -> None:
        if place == 0:
            self.inputs.append(values)
            return
        if number not in self.changing and not torch.equal(values, self.inputs[number]):
            self.changing[number] = self.inputs[number][:, None].repeat(1, self.steps, 1)
        if number in self.changing:
            self.changing[number][:, place] = values

    def _note(self, fields: Fields, values: Tensor) -> None:
        for name, columns in column_slices(fields).items():
            part = values[:, columns]
            size = float(part.abs().max()) if part.numel() else 0.0
            self.largest[name] = max(self.largest.get(name, 0.0), size)

    def finish(self, graph: MeshData, name: str, with_states: bool) -> None:
        """Put everything into the graph.

        Raises:
            MeshError: a field is too large or too small for float32.
        """
        for field, size in self.largest.items():
            refuse_sizes(torch.tensor([size], dtype=torch.float64), field, name)
        if with_states and self.reader.targets:
            graph.states = self.states
        if self.pos_t is not None:
            graph.pos_t = self.pos_t
        if self.inputs:
            graph.first = torch.cat(self.inputs, 1)
            graph.changes = torch.tensor([i in self.changing for i in range(len(self.inputs))])
        if self.changing:
            graph.x_t = torch.cat([self.changing[i] for i in sorted(self.changing)], 2)


def changing_inputs(graph: Data, inputs: Fields) -> tuple[str, ...]:
    """Names of the inputs that change in a graph of :func:`series_graph`."""
    changes = graph.get("changes")
    if changes is None:
        return ()
    return tuple(f.name for f, c in zip(inputs, changes.tolist(), strict=True) if c)


def arrange(graph: Data, inputs: Fields, how: SeriesReading) -> None:
    """Give a graph ``x``, ``x_t`` and ``pos_t`` as all graphs of a store have them.

    Args:
        graph: of :func:`series_graph`; its ``first`` and ``changes`` are taken out.
        inputs: of the reader.
        how: with ``changing`` and ``moves``.
    """
    steps = len(graph.times)
    if inputs:
        own = tuple(f for f in inputs if f.name in changing_inputs(graph, inputs))
        first, slices, of_time = graph.first, column_slices(inputs), column_slices(own)
        x_t = graph.get("x_t")
        parts: dict[str, list[Tensor]] = {"x": [], "x_t": []}
        for array, fields in how.fields(inputs).items():
            for field in fields:
                steady = first[:, slices[field.name]]
                if array == "x":
                    parts[array].append(steady)
                elif field in own and x_t is not None:
                    parts[array].append(x_t[:, :, of_time[field.name]])
                else:
                    parts[array].append(steady[:, None].repeat(1, steps, 1))
        for array in ("first", "changes", "x_t"):
            if array in graph:
                del graph[array]
        if parts["x"]:
            graph.x = torch.cat(parts["x"], 1)
        if parts["x_t"]:
            graph.x_t = torch.cat(parts["x_t"], 2)
    if how.moves and graph.get("pos_t") is None:
        graph.pos_t = graph.pos[:, None].repeat(1, steps, 1)


def _refuse_unlike(how: SeriesReading, inputs: Fields, graph: Data, name: str) -> None:
    """Refuse what changes with time in a series, and did not in those of the store."""
    if others := [n for n in changing_inputs(graph, inputs) if n not in (how.changing or ())]:
        raise MeshError(
            f"{name}: input '{others[0]}' changes with time, and is the same at all steps of the"
            " files that the store or model was made of; make them of files in which it changes"
        )
    if graph.get("pos_t") is not None and not how.moves:
        raise MeshError(
            f"{name}: its nodes move, and they do not in the files that the store or model was made"
            " of; make them of meshes that move"
        )

"""Types and shapes of the arrays of graphs that were read, before they go into one store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch_geometric.data import Data

from lrsa_geo.data.reader import GraphReader
from lrsa_geo.data.series_reader import arrange, changing_inputs
from lrsa_geo.data.sources import FILE_STEPS
from lrsa_geo.jobs import Parts
from lrsa_geo.mesh.fields import total_width

Form = dict[str, tuple[np.dtype, list[int]]]
"""Array -> type and shape."""
Forms = dict[int, Form]
"""Of each graph, by its number."""


def take_file_steps(forms: Forms, parts: Parts) -> dict[int, int]:
    """Steps of the files that have several, by number, which is taken out of the forms."""
    found = {}
    for index, form in forms.items():
        if form.pop(FILE_STEPS, None) is not None:
            found[index] = int(parts.load(index)[FILE_STEPS])
    return found


def decided(reader: GraphReader, forms: Forms, parts: Parts) -> GraphReader:
    """The reader that knows which inputs change with time in any graph, and whether nodes move."""
    if reader.series is None:
        return reader
    moves = any("pos_t" in form for form in forms.values())
    found: set[str] = set()
    for index, form in forms.items():
        if "x_t" in form:
            found |= {*changing_inputs(parts.load(index), reader.inputs)}
    changing = tuple(field.name for field in reader.inputs if field.name in found)
    return replace(reader, series=replace(reader.series, changing=changing, moves=moves))


def arrange_form(form: Form, reader: GraphReader) -> None:
    """Make the form of a graph that of the graph which ``arrange`` makes of it."""
    if reader.series is None:
        return
    first = form.pop("first", None)
    form.pop("changes", None)
    form.pop("x_t", None)
    nodes, steps = form["pos"][1][0], form["times"][1][0]
    fields = reader.series.fields(reader.inputs)
    if first is not None and fields["x"]:
        form["x"] = first[0], [nodes, total_width(fields["x"])]
    if first is not None and fields["x_t"]:
        form["x_t"] = first[0], [nodes, steps, total_width(fields["x_t"])]
    if reader.series.moves:
        form["pos_t"] = form["pos"][0], [nodes, steps, form["pos"][1][1]]


def unlike_most(paths: tuple[str, ...], forms: Forms) -> Iterator[tuple[int, str]]:
    """Graphs that have other arrays than most, such as a point cloud among meshes, and why."""
    kinds = Counter(tuple(sorted(arrays)) for arrays in forms.values())
    usual = max(kinds, key=lambda kind: (kinds[kind], len(kind)))
    example = next(i for i, arrays in forms.items() if tuple(sorted(arrays)) == usual)
    for index, arrays in forms.items():
        others = ({*usual} ^ {*arrays}) - {"cell_types"}  # which come and go with the cells
        has = [name if name in arrays else f"no {name}" for name in sorted(others, reverse=True)]
        if has:
            yield (
                index,
                f"{paths[index]}: has {' and '.join(has)}, unlike {kinds[usual]} of the"
                f" {len(forms)} files, such as {paths[example]}; all graphs of a store have the"
                " same arrays",
            )


def make_alike(forms: Forms) -> None:
    """Cells as wide as the widest, and positions of the highest precision."""
    width = max((form["cells"][1][1] for form in forms.values() if "cells" in form), default=0)
    precision = max(form["pos"][0] for form in forms.values())
    for form in forms.values():
        for name in {"pos", "pos_t"} & form.keys():
            form[name] = precision, form[name][1]
        if "cells" in form:
            form["cells"][1][1] = width


def graphs_of(parts: Parts, forms: Forms, reader: GraphReader) -> Iterator[Data]:
    """The graphs in their forms."""
    for index, form in forms.items():
        data = parts.load(index)
        if FILE_STEPS in data:
            del data[FILE_STEPS]
        if reader.series is not None:
            arrange(data, reader.inputs, reader.series)
        for name in {"pos", "pos_t"} & form.keys():
            if form[name][0] == np.float64:
                data[name] = data[name].double()
        if "cells" in form:
            missing = form["cells"][1][1] - data.cells.shape[1]
            data.cells = torch.nn.functional.pad(data.cells, (0, missing), value=-1)
        yield data

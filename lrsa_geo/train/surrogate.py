"""A trained operator with everything that prediction needs, in one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.utils import scatter

from lrsa_geo.data import MeshStore, Normalizer, Ranges, Statistics, octaves_for, spacing_of
from lrsa_geo.files import atomic_path
from lrsa_geo.mesh import total_width, with_edges, with_query_points
from lrsa_geo.nn import (
    CHUNK,
    GeometryOperator,
    GraphLayout,
    OperatorConfig,
    stream,
    stream_with_gradients,
    why_not,
)
from lrsa_geo.nn.local import needs_edges
from lrsa_geo.train.objective import Objective, ObjectiveConfig
from lrsa_geo.train.signature import Signature

FORMAT = "lrsa_geo.Surrogate"
VERSION = 2  # 1 had no reader and no size of the targets


@dataclass
class ModelConfig(OperatorConfig):
    """Sizes and parts of the network, and what it is told of each node.

    Args:
        use_measure: weigh each node by the length, area or volume it stands for.
        use_boundary: tell the network each node's boundary marker.
        use_features: tell the network the node features ``x``; positions only otherwise.
        chunk: nodes that are worked on at a time, graph by graph, with the same result and the same
            gradients, see :func:`~lrsa_geo.nn.stream_with_gradients`: for meshes too large for a
            step even with ``checkpoint``. null for all nodes of a batch at once.
    """

    mixer: str = "lrsa"  # a file holds names alone
    mixer_options: dict[str, Any] = field(default_factory=dict)
    local: str | None = None
    local_options: dict[str, Any] = field(default_factory=dict)
    local_blocks: list[int] | None = None
    fourier_octaves: int | Literal["auto"] = "auto"
    use_measure: bool = True
    use_boundary: bool = True
    use_features: bool = True
    chunk: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that make no sense.

        Raises:
            ValueError: naming the value.
        """
        super().__post_init__()
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"`chunk` is {self.chunk}, expected 1 or more nodes, or null for all")

    @property
    def needs_edges(self) -> bool:
        """Whether messages pass along the edges of the mesh."""
        return self.local is not None and needs_edges(self.local)


class Surrogate(nn.Module):
    """Normalisation, :class:`~lrsa_geo.nn.GeometryOperator` and the meaning of its columns.

    Called with a PyG batch it returns the targets in physical units, ``[R, K]``.

    Args:
        config: sizes of the network; where its octaves are "auto", they are those of
            :class:`OperatorConfig`. :meth:`for_training` takes them from the meshes.
        signature: what it reads and predicts.
    """

    def __init__(self, config: ModelConfig, signature: Signature) -> None:
        super().__init__()
        if config.fourier_octaves == "auto":  # without meshes to take them from
            config = replace(config, fourier_octaves=OperatorConfig.fourier_octaves)
        self.config = config
        self.signature = signature
        fields = signature.fields
        self.normalizer = Normalizer(signature.pos_dim, fields)
        self.operator = GeometryOperator(
            in_channels=total_width(fields.get("x", ())) + signature.num_markers,
            out_channels=total_width(fields["y"]),
            pos_dim=signature.pos_dim,
            cond_channels=total_width(fields.get("cond", ())),
            config=config,
        )
        if config.chunk is not None and (reason := why_not(self.operator)):
            raise ValueError(f"`chunk` is {config.chunk}, and {reason}; leave it out")

    @classmethod
    def for_training(
        cls, config: ModelConfig, store: MeshStore, graphs: Sequence[int]
    ) -> Surrogate:
        """An untrained model for graphs of a store, with their normalisation.

        Raises:
            ValueError: there is no graph, or none with a node.
        """
        signature = Signature.of_store(store, config)
        relative = config.relative_positions
        told = signature.fields
        if signature.stepping is not None:
            told = told | {"change": told["y"]}
        statistics = Statistics.of_store(store, graphs, told, relative_positions=relative)
        normalizer = Normalizer(signature.pos_dim, signature.fields)
        normalizer.take(statistics)
        if config.fourier_octaves == "auto":
            spacing = spacing_of(store, graphs) / float(normalizer.pos.scale.max())
            config = replace(config, fourier_octaves=octaves_for(spacing))
        signature = replace(signature, ranges=Ranges.of(statistics))
        surrogate = cls(config, signature)
        surrogate.normalizer = normalizer
        return surrogate

    @property
    def arrays(self) -> list[str]:
        """The arrays of a ``Data`` that a prediction reads."""
        arrays = ["pos", *(a for a in ("x", "cond") if a in self.signature.fields)]
        arrays += ["measure"] if self.config.use_measure else []
        arrays += ["edge_index"] if self.config.needs_edges else []
        stepping = self.signature.stepping
        arrays += ["given"] if stepping is not None and stepping.prescribed else []
        return arrays + (["boundary"] if self.signature.num_markers else [])

    def objective(self, config: ObjectiveConfig | None = None) -> Objective:
        """Loss and errors of this model; relative L2 by default."""
        return Objective(config or ObjectiveConfig(), self.signature.fields["y"], self.normalizer)

    def forward(self, data: Data | Batch) -> Tensor:
        """Targets in physical units at the nodes of all graphs.

        Nodes that are marked in ``passive``, if the graphs have it, count as of measure 0; those
        marked in ``halo`` likewise, but that they send messages to their neighbours. A batch
        of :class:`StoreDataModule` carries its ``layout``, and its values were looked at where that
        was made: nothing here waits for a GPU. Of others it is worked out here.

        Raises:
            ValueError: the graphs lack an array that the model was trained with, or have markers
                that it does not know.
        """
        if self.config.chunk is not None:
            call = stream_with_gradients if torch.is_grad_enabled() else stream
            return self._in_chunks(data, partial(call, chunk=self.config.chunk))
        x, pos, cond = self._inputs(data)
        layout = data.get("layout")
        if layout is None:
            layout = layout_of(data, self.config, self.signature.num_markers)
        return self._physical(self.operator(x, pos, layout, cond=cond), data)

    def streamed(
        self,
        data: Data,
        *,
        chunk: int = CHUNK,
        buffer: Callable[[int, int], Tensor] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """The same for one graph of any size, chunk by chunk, see :func:`lrsa_geo.nn.stream`.

        Beside the graph it needs the features, C numbers a node, and what a chunk takes.

        Args:
            data: one graph, with its edges if the model reads them.
            chunk: nodes that are worked on at a time.
            buffer: where the features are, see :func:`lrsa_geo.nn.stream`.
            progress: called with nodes that were worked on, N times the number of blocks in all.

        Raises:
            ValueError: the graph lacks an array, or a part of the model cannot be streamed.
        """
        call = partial(stream, chunk=chunk, buffer=buffer, progress=progress)
        return self._in_chunks(data, call)

    def _in_chunks(self, data: Data | Batch, call: Callable[..., Tensor]) -> Tensor:
        """What a function such as :func:`lrsa_geo.nn.stream` gives, graph by graph."""
        x, pos, cond = self._inputs(data)
        _check_markers(data, self.signature.num_markers)
        measure = _measure_of(data, self.config)
        edges = data.edge_index if self.config.needs_edges else None
        ptr = data.get("ptr")
        if ptr is None and data.get("batch") is not None:
            raise ValueError("`batch` has no `ptr`; join the graphs by `Batch.from_data_list`")
        graphs = [(0, len(pos))] if ptr is None else list(pairwise(ptr.tolist()))
        parts = [pos.new_empty(0, self.operator.out_channels)]
        for number, (first, end) in enumerate(graphs):
            if ptr is not None and first == end:
                continue
            edge_index, of_graph = edges, cond
            if edges is not None and len(graphs) > 1:
                edge_index = edges[:, (edges[1] >= first) & (edges[1] < end)] - first
            if cond is not None and len(graphs) > 1:
                of_graph = cond[number : number + 1]
            y = call(
                self.operator,
                None if x is None else x[first:end],
                pos[first:end],
                edge_index=edge_index,
                cond=of_graph,
                measure=None if measure is None else measure[first:end],
            )
            parts.append(y)
        return self._physical(torch.cat(parts), data)

    def _inputs(self, data: Data | Batch) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Normalised features, positions and conditions."""
        self.check_arrays(data)
        features = []
        if "x" in self.signature.fields:
            features.append(self.normalizer.x(data.x))
        if self.signature.num_markers:
            markers = torch.arange(self.signature.num_markers, device=data.boundary.device)
            features.append((data.boundary[:, None] == markers).float())
        cond = None
        if "cond" in self.signature.fields:
            cond = self.normalizer.cond(data.cond)
        x = torch.cat(features, dim=1) if features else None
        return x, self.normalizer.pos(self._positions(data)), cond

    def _physical(self, y: Tensor, data: Data | Batch) -> Tensor:
        """Targets of what the network gives."""
        y = self.normalizer.y.inverse(y.float())
        stepping = self.signature.stepping
        return y if stepping is None else stepping.complete(y, data)

    def check_arrays(self, data: Data | Batch) -> None:
        """Refuse graphs that lack an array that is read.

        Raises:
            ValueError: naming the arrays.
        """
        missing = [array for array in self.arrays if data.get(array) is None]
        if missing:
            raise ValueError(f"the graph has no {missing}, which this model was trained with")

    def query(
        self, data: Data, pos: Tensor, x: Tensor | None = None, boundary: Tensor | None = None
    ) -> Tensor:
        """Targets in physical units at any points, ``[Q, K]``, see :func:`with_query_points`.

        The points read the field that the nodes carry and do not change it. They may be the nodes
        of another mesh.

        Args:
            data: one graph; its edges are made by :func:`with_edges` if the model needs them.
            pos: ``[Q, D]`` in the unit of the graph's positions.
            x: ``[Q, F]`` features at the points, if the model reads features.
            boundary: ``[Q]`` markers of the points; 0 (inside) by default.

        Raises:
            ValueError: shapes do not fit, the points lack features that the model needs, or the
                graph is a batch.
        """
        if data.get("batch") is not None:
            raise ValueError(
                "query points belong to one graph, and `batch` says that there are several; ask for"
                " each of `batch.to_data_list()` on its own"
            )
        if self.config.needs_edges:
            data = with_edges(data)
        reads_x = "x" in self.signature.fields
        if reads_x and x is None:
            names = ", ".join(f.name for f in self.signature.fields["x"])
            raise ValueError(f"`x` is None, but the model reads {names}: give them at the points")
        if not reads_x and data.get("x") is not None:
            data = data.clone()
            del data.x
        return self(with_query_points(data, pos, x, boundary))[len(data.pos) :]

    def _positions(self, data: Data | Batch) -> Tensor:
        """Positions; far from the origin, relative ones lose their digits unless shifted first."""
        pos: Tensor = data.pos
        if not self.config.relative_positions or pos.dtype != torch.float64:
            return pos
        if data.batch is None:
            return pos - pos.mean(0) if len(pos) else pos
        graphs = data.num_graphs if isinstance(data, Batch) else None
        return pos - scatter(pos, data.batch, 0, dim_size=graphs, reduce="mean")[data.batch]

    def about(self) -> dict[str, Any]:
        """Configuration and signature, in plain types: with the weights, all that there is."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "config": asdict(self.config),
            "signature": self.signature.to_dict(),
        }

    @classmethod
    def of(cls, about: dict[str, Any], weights: dict[str, Tensor]) -> Surrogate:
        """The surrogate of which :meth:`about` told, with its weights; ready to predict."""
        model = cls.like(about)
        model.load_state_dict(weights)
        return model.eval()

    @classmethod
    def like(cls, about: dict[str, Any]) -> Surrogate:
        """An untrained surrogate like the one of which :meth:`about` told."""
        return cls(ModelConfig(**about["config"]), Signature.from_dict(about["signature"]))

    def save(self, path: str | Path) -> None:
        """Write weights, configuration, normalisation and field names to one safetensors file."""
        with atomic_path(path) as temporary:
            save_file(self.state_dict(), temporary, {"lrsa_geo": json.dumps(self.about())})

    @classmethod
    def load(cls, path: str | Path) -> Surrogate:
        """Read what :meth:`save` wrote. No code in the file is ever executed.

        Raises:
            ValueError: not such a file, or of a newer version.
        """
        try:
            with safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {}).get("lrsa_geo", "{}"))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path}: not a readable safetensors file ({error})") from error
        if about.get("format") != FORMAT:
            raise ValueError(f"{path}: a safetensors file, but not of a lrsa_geo model")
        if about["version"] > VERSION:
            raise ValueError(f"{path}: version {about['version']}, this library reads {VERSION}")
        return cls.of(about, weights)


def layout_of(data: Data | Batch, config: ModelConfig, num_markers: int) -> GraphLayout:
    """What the layers of a surrogate with these sizes need to know of a batch, worked out once.

    Args:
        data: the batch.
        config: sizes of the surrogate.
        num_markers: kinds of boundary marker that it knows; 0 if it does not read them.

    Raises:
        ValueError: a node has another marker, or the arrays of the batch do not fit together.
    """
    _check_markers(data, num_markers)
    return GraphLayout.of(
        data.pos.float(),
        data.batch,
        ptr=data.get("ptr"),
        edge_index=data.edge_index if config.needs_edges else None,
        measure=_measure_of(data, config),
        halo=data.get("halo"),
    )


def _check_markers(data: Data | Batch, known: int) -> None:
    if not known or not len(data.boundary):
        return
    low, high = int(data.boundary.min()), int(data.boundary.max())
    if not 0 <= low <= high < known:
        raise ValueError(
            f"`boundary` holds {low} to {high}, the model knows the markers 0 to {known - 1}"
        )


def _measure_of(data: Data | Batch, config: ModelConfig) -> Tensor | None:
    """Weights of the nodes; 0 for those that are passive."""
    measure: Tensor | None = data.measure if config.use_measure else None
    if data.get("passive") is not None:
        ones = torch.ones(len(data.pos), device=data.pos.device)
        measure = (ones if measure is None else measure).masked_fill(data.passive, 0)
    return measure

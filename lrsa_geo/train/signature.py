"""What a surrogate reads and predicts, as it is kept beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lrsa_geo.data import (
    GraphReader,
    MeshStore,
    MismatchError,
    Ranges,
    SeriesReading,
    Stepping,
    StepView,
    refuse_names_of_results,
)
from lrsa_geo.mesh import Field, Fields

if TYPE_CHECKING:
    from lrsa_geo.train.surrogate import ModelConfig

READER = GraphReader(boundary="boundary")  # of a store that was not made of mesh files


@dataclass(frozen=True)
class Signature:
    """What a surrogate reads and predicts.

    Args:
        pos_dim: D.
        fields: columns of ``x``, ``y`` and ``cond``.
        num_markers: kinds of boundary marker, 0 if it does not read them.
        reader: how a mesh file becomes a graph like those of the training: time step, field of the
            markers.
        ranges: what the training graphs spanned; None in models that did not note it.
        num_graphs: of the store that it was trained on; 0 in models that did not note it.
        stepping: how it steps through a series; None of a model that does not.
    """

    pos_dim: int
    fields: dict[str, Fields]
    num_markers: int = 0
    reader: GraphReader = READER
    ranges: Ranges | None = None
    num_graphs: int = 0
    stepping: Stepping | None = None

    @classmethod
    def of_store(cls, store: MeshStore, model: ModelConfig) -> Signature:
        """The signature of a model for the graphs of a store, without ranges.

        Raises:
            ValueError: the graphs are series, and the model is to read no features.
        """
        stepping = store.stepping if isinstance(store, StepView) else None
        if stepping is not None and not model.use_features:
            raise ValueError(
                "model.use_features is false, and the states that a step reads are features"
            )
        markers = 0
        if model.use_boundary and "boundary" in store.arrays:
            markers = 1 + max((int(m.max()) for m in store.pieces("boundary")), default=-1)
        read = ("x", "y", "cond") if model.use_features else ("y", "cond")
        fields = {array: f for array, f in store.fields.items() if array in read}
        refuse_names_of_results(fields["y"], (*fields.get("x", ()), *fields["y"]), store.path)
        pos_dim = store[0].pos.shape[1]
        reader = store.reader or READER
        return cls(pos_dim, fields, markers, reader, num_graphs=len(store), stepping=stepping)

    @property
    def of_series(self) -> Stepping:
        """How a model of series steps.

        Raises:
            ValueError: the model is of steady graphs.
        """
        if self.stepping is None:
            raise ValueError("the model was trained on steady graphs, and predicts no series")
        return self.stepping

    def check_graphs(self, store: MeshStore) -> None:
        """Refuse a store whose graphs are not those of the training, by their meshes and inputs.

        Args:
            store: with the columns of the model.

        Raises:
            MismatchError: the message names a graph that differs.
        """
        self.check_dim(store[0].pos.shape[1], store.path)
        if not self.num_graphs or self.ranges is None or self.ranges.cases is None:
            return  # an older model
        found = f"{len(store):,} graphs, it had {self.num_graphs:,}"
        if len(store) == self.num_graphs:
            other = self.ranges.cases.first_unlike(store, self.fields)
            if other is None:
                return
            found = f"another graph {other}"
        raise MismatchError(
            f"{store.path}: is not the store that this run was trained on (it has {found}), so its"
            " test graphs may be among those of the training; put the old one back, start a new"
            " run, or use `lrsa-geo predict`"
        )

    def check_dim(self, dim: int, where: object) -> None:
        """Refuse plane meshes for a model of solids, and the other way round.

        Raises:
            MismatchError: the positions have another dimension than those of the training.
        """
        if dim != self.pos_dim:
            raise MismatchError(
                f"{where}: has positions in {dim} dimensions, the model was trained in"
                f" {self.pos_dim}; give meshes of that dimension, or train another model"
            )

    def reader_of(self, step: int | None = None) -> GraphReader:
        """Reads what the surrogate reads; at another time step if one is given.

        That of a model of series reads series, with all targets of the files for states.
        """
        stepping = self.stepping
        if stepping is not None:
            how = self.reader.series or SeriesReading()
            return replace(
                self.reader,
                inputs=(*stepping.x, *stepping.x_t),
                targets=stepping.states,
                cond=stepping.cond_t if how.cond_in_time else stepping.cond,
                boundary=self.reader.boundary if self.num_markers or stepping.prescribed else "",
                dim=0,
                series=replace(
                    how,
                    changing=tuple(field.name for field in stepping.x_t),
                    moves=stepping.dim > 0,
                ),
            )
        return replace(
            self.reader,
            inputs=self.fields.get("x", ()),
            targets=self.fields["y"],
            cond=self.fields.get("cond", ()),
            boundary=self.reader.boundary if self.num_markers else "",
            step=self.reader.step if step is None else step,
            dim=0,  # predict_files tells it in other words
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        return {
            "pos_dim": self.pos_dim,
            "num_markers": self.num_markers,
            "reader": self.reader.to_dict(),
            "fields": {a: [f.to_dict() for f in fields] for a, fields in self.fields.items()},
            **({} if self.ranges is None else {"ranges": self.ranges.to_dict()}),
            **({"num_graphs": self.num_graphs} if self.num_graphs else {}),
            **({} if self.stepping is None else {"stepping": self.stepping.to_dict()}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Signature:
        """The inverse of :meth:`to_dict`; what an older version did not write has its default."""
        fields = {
            array: tuple(Field.from_dict(field) for field in fields)
            for array, fields in values["fields"].items()
        }
        old = {"boundary": values.get("marker_field", "boundary")}  # of version 1
        reader = GraphReader.from_dict(values.get("reader", old))
        ranges = Ranges.from_dict(values["ranges"]) if "ranges" in values else None
        count, told = values.get("num_graphs", 0), values.get("stepping")
        stepping = None if told is None else Stepping.from_dict(told)
        return cls(
            values["pos_dim"], fields, values["num_markers"], reader, ranges, count, stepping
        )

"""Meshes on disk and in memory: no layers, no training."""

from lrsa_geo.data.augment import (
    Axis,
    NormalizePositions,
    RandomRotation,
    RandomScaling,
    mirrored,
    turned,
)
from lrsa_geo.data.check import Finding, check_store
from lrsa_geo.data.collect import CondTable, collect
from lrsa_geo.data.fields import Field, Fields, column_slices, split_unit, total_width
from lrsa_geo.data.files import atomic_path, shipped_datasets
from lrsa_geo.data.graphs import GraphReader, reader_for
from lrsa_geo.data.info import describe
from lrsa_geo.data.mesh_io import (
    MESH_SUFFIXES,
    WRITTEN_SUFFIXES,
    MeshError,
    cell_to_node,
    node_to_cell,
    read_mesh,
    write_mesh,
)
from lrsa_geo.data.normalize import Normalizer
from lrsa_geo.data.parts import Failure, Parts, SampleError
from lrsa_geo.data.query import with_query_points
from lrsa_geo.data.split import (
    Split,
    SplitRule,
    fill_parts,
    geometry_keys,
    group_numbers,
    make_split,
    split_path,
    together,
)
from lrsa_geo.data.store import MeshStore, StoreError
from lrsa_geo.data.store_migrate import migrate
from lrsa_geo.data.surfaces import (
    BoundaryNodes,
    DistanceToBoundary,
    SurfaceNormals,
    pressure_force,
    surface_polygons,
)
from lrsa_geo.data.topology import boundary_facets, mesh_edges
from lrsa_geo.data.transforms import (
    CellsToEdges,
    EdgeGeometry,
    KNNEdges,
    NodeMeasure,
    RadiusEdges,
    with_edges,
)

__all__ = [
    "MESH_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "Axis",
    "BoundaryNodes",
    "CellsToEdges",
    "CondTable",
    "DistanceToBoundary",
    "EdgeGeometry",
    "Failure",
    "Field",
    "Fields",
    "Finding",
    "GraphReader",
    "KNNEdges",
    "MeshError",
    "MeshStore",
    "NodeMeasure",
    "NormalizePositions",
    "Normalizer",
    "Parts",
    "RadiusEdges",
    "RandomRotation",
    "RandomScaling",
    "SampleError",
    "Split",
    "SplitRule",
    "StoreError",
    "SurfaceNormals",
    "atomic_path",
    "boundary_facets",
    "cell_to_node",
    "check_store",
    "collect",
    "column_slices",
    "describe",
    "fill_parts",
    "geometry_keys",
    "group_numbers",
    "make_split",
    "mesh_edges",
    "migrate",
    "mirrored",
    "node_to_cell",
    "pressure_force",
    "read_mesh",
    "reader_for",
    "shipped_datasets",
    "split_path",
    "split_unit",
    "surface_polygons",
    "together",
    "total_width",
    "turned",
    "with_edges",
    "with_query_points",
    "write_mesh",
]

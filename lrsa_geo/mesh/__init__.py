"""Mesh files and geometry: reading, writing, cells, topology, surfaces, measures, transforms."""

from lrsa_geo.mesh.augment import (
    Axis,
    NormalizePositions,
    RandomRotation,
    RandomScaling,
    mirrored,
    turned,
)
from lrsa_geo.mesh.averages import cell_to_node, node_to_cell
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.fields import Field, Fields, column_slices, split_unit, total_width
from lrsa_geo.mesh.grids import grid_positions, quad_cells
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.query import with_query_points
from lrsa_geo.mesh.random_nodes import RandomNodes
from lrsa_geo.mesh.random_patches import Neighbourhoods, RandomPatches
from lrsa_geo.mesh.read import MESH_SUFFIXES, read_mesh
from lrsa_geo.mesh.series import MeshSeries, open_series
from lrsa_geo.mesh.series_files import series_files
from lrsa_geo.mesh.surfaces import (
    BoundaryNodes,
    DistanceToBoundary,
    SurfaceNormals,
    pressure_force,
    surface_polygons,
)
from lrsa_geo.mesh.topology import boundary_facets, mesh_edges
from lrsa_geo.mesh.transforms import (
    CellsToEdges,
    EdgeGeometry,
    KNNEdges,
    NodeMeasure,
    RadiusEdges,
    with_edges,
)
from lrsa_geo.mesh.write import WRITTEN_SUFFIXES, write_mesh
from lrsa_geo.mesh.write_series import WRITTEN_SERIES, write_series

__all__ = [
    "MESH_SUFFIXES",
    "WRITTEN_SERIES",
    "WRITTEN_SUFFIXES",
    "Axis",
    "BoundaryNodes",
    "CellsToEdges",
    "DistanceToBoundary",
    "EdgeGeometry",
    "Field",
    "Fields",
    "KNNEdges",
    "MeshData",
    "MeshError",
    "MeshSeries",
    "Neighbourhoods",
    "NodeMeasure",
    "NormalizePositions",
    "RadiusEdges",
    "RandomNodes",
    "RandomPatches",
    "RandomRotation",
    "RandomScaling",
    "SurfaceNormals",
    "boundary_facets",
    "cell_to_node",
    "column_slices",
    "grid_positions",
    "mesh_edges",
    "mirrored",
    "node_to_cell",
    "open_series",
    "pressure_force",
    "quad_cells",
    "read_mesh",
    "series_files",
    "split_unit",
    "surface_polygons",
    "total_width",
    "turned",
    "with_edges",
    "with_query_points",
    "write_mesh",
    "write_series",
]

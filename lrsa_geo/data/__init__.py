"""Graphs from meshes: reading, stores, splits, normalisation, data sets; no layers, no training."""

from lrsa_geo.data.augment import Mirror, transform_of
from lrsa_geo.data.cases import Cases, describe_case
from lrsa_geo.data.check import LARGE_OFFSET, UNLIKE_SIZES, Finding, check_files, check_store
from lrsa_geo.data.collect import collect
from lrsa_geo.data.cond_table import CondTable
from lrsa_geo.data.course import Course
from lrsa_geo.data.dataset import StoreDataset
from lrsa_geo.data.geometry import geometry_keys
from lrsa_geo.data.info import describe, describe_collection, describe_mesh
from lrsa_geo.data.matching import MismatchError, match_store
from lrsa_geo.data.normalize import Normalizer
from lrsa_geo.data.one_series import OneSeries, lengthened
from lrsa_geo.data.output import check_output, check_space, full_disk_explained
from lrsa_geo.data.ranges import Ranges
from lrsa_geo.data.reader import GraphReader, reader_for, refuse_names_of_results
from lrsa_geo.data.series_reader import SeriesReading
from lrsa_geo.data.spacing import node_spacing, octaves_for, spacing_of
from lrsa_geo.data.split import (
    Split,
    SplitConfig,
    SplitRule,
    fill_parts,
    group_numbers,
    make_split,
    split_in_order,
    split_path,
    together,
)
from lrsa_geo.data.statistics import Statistics
from lrsa_geo.data.stepping import Known, SeriesConfig, Stepping
from lrsa_geo.data.steps import StepView, match_series, stepping_of
from lrsa_geo.data.store import (
    MeshStore,
    ShardedStore,
    StoreError,
    is_one_file,
    migrate,
    names_store,
    open_store,
    store_name,
)
from lrsa_geo.data.units import conversion

__all__ = [
    "LARGE_OFFSET",
    "UNLIKE_SIZES",
    "Cases",
    "CondTable",
    "Course",
    "Finding",
    "GraphReader",
    "Known",
    "MeshStore",
    "Mirror",
    "MismatchError",
    "Normalizer",
    "OneSeries",
    "Ranges",
    "SeriesConfig",
    "SeriesReading",
    "ShardedStore",
    "Split",
    "SplitConfig",
    "SplitRule",
    "Statistics",
    "StepView",
    "Stepping",
    "StoreDataset",
    "StoreError",
    "check_files",
    "check_output",
    "check_space",
    "check_store",
    "collect",
    "conversion",
    "describe",
    "describe_case",
    "describe_collection",
    "describe_mesh",
    "fill_parts",
    "full_disk_explained",
    "geometry_keys",
    "group_numbers",
    "is_one_file",
    "lengthened",
    "make_split",
    "match_series",
    "match_store",
    "migrate",
    "names_store",
    "node_spacing",
    "octaves_for",
    "open_store",
    "reader_for",
    "refuse_names_of_results",
    "spacing_of",
    "split_in_order",
    "split_path",
    "stepping_of",
    "store_name",
    "together",
    "transform_of",
]

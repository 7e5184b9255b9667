"""Comparisons: the same data, time and parameters for every model, with seeds and their spread."""

from lrsa_geo.study.compare import Variant, compare, seconds_per_step, tune
from lrsa_geo.study.report import error_by_distance, table

__all__ = ["Variant", "compare", "error_by_distance", "seconds_per_step", "table", "tune"]

"""Comparisons: the same data, time and parameters for every model, with seeds and their spread."""

from lrsa_geo.study.ablation import ablation
from lrsa_geo.study.compare import Variant, compare, seconds_per_step, tune
from lrsa_geo.study.plan import Study
from lrsa_geo.study.report import error_by_distance, table
from lrsa_geo.study.run import run_study
from lrsa_geo.study.statistics import Paired, holm, paired

__all__ = [
    "Paired",
    "Study",
    "Variant",
    "ablation",
    "compare",
    "error_by_distance",
    "holm",
    "paired",
    "run_study",
    "seconds_per_step",
    "table",
    "tune",
]

"""Studies: models compared with seeds and their spread, spectra, low precision, cost."""

from lrsa_geo.study.ablation import ablation, plot_sensitivity
from lrsa_geo.study.compare import Variant, compare, seconds_per_step, tune
from lrsa_geo.study.cost import CostStudy, run_cost, unlike_sizes
from lrsa_geo.study.decay import DecayRow, DecayStudy, not_enough, run_decay
from lrsa_geo.study.empirical import EmpiricalKernel, empirical_kernel, fit_kernel
from lrsa_geo.study.greens import green_spectra, helmholtz, midpoints, poisson, transport
from lrsa_geo.study.line import LineTraining, PeriodicKernel
from lrsa_geo.study.mixing import Mixing, mixing_spectra
from lrsa_geo.study.plan import Study
from lrsa_geo.study.precision import (
    PrecisionStudy,
    gradient_deviation,
    run_precision,
    sums_over,
    train_in,
)
from lrsa_geo.study.report import error_by_distance, table
from lrsa_geo.study.run import Rows, run_study
from lrsa_geo.study.spectrum import Spectrum, effective_rank, write_spectra
from lrsa_geo.study.statistics import Paired, holm, paired
from lrsa_geo.study.workload import peak_memory

__all__ = [
    "CostStudy",
    "DecayRow",
    "DecayStudy",
    "EmpiricalKernel",
    "LineTraining",
    "Mixing",
    "Paired",
    "PeriodicKernel",
    "PrecisionStudy",
    "Rows",
    "Spectrum",
    "Study",
    "Variant",
    "ablation",
    "compare",
    "effective_rank",
    "empirical_kernel",
    "error_by_distance",
    "fit_kernel",
    "gradient_deviation",
    "green_spectra",
    "helmholtz",
    "holm",
    "midpoints",
    "mixing_spectra",
    "not_enough",
    "paired",
    "peak_memory",
    "plot_sensitivity",
    "poisson",
    "run_cost",
    "run_decay",
    "run_precision",
    "run_study",
    "seconds_per_step",
    "sums_over",
    "table",
    "train_in",
    "transport",
    "tune",
    "unlike_sizes",
    "write_spectra",
]

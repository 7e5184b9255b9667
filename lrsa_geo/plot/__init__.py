"""Every picture the project draws, as PNG files."""

from lrsa_geo.plot.curves import (
    error_against_distance,
    error_against_size,
    histograms,
    loss_curves,
)
from lrsa_geo.plot.fields import compare, draw_field, sample_sheet
from lrsa_geo.plot.spectra import error_against_rank, errors_in_precision, singular_values

__all__ = [
    "compare",
    "draw_field",
    "error_against_distance",
    "error_against_rank",
    "error_against_size",
    "errors_in_precision",
    "histograms",
    "loss_curves",
    "sample_sheet",
    "singular_values",
]

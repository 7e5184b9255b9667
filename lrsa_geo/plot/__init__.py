"""Every picture the project draws, as PNG files."""

from lrsa_geo.plot.choices import Choice, errors_of_choices
from lrsa_geo.plot.curves import (
    ErrorPoint,
    cost_against_nodes,
    error_against_distance,
    error_against_size,
    errors_against_budget,
    histograms,
    loss_curves,
)
from lrsa_geo.plot.fields import compare, draw_field, sample_sheet
from lrsa_geo.plot.series import error_over_time, film_strip, movie
from lrsa_geo.plot.spectra import error_against_rank, errors_in_precision, singular_values

__all__ = [
    "Choice",
    "ErrorPoint",
    "compare",
    "cost_against_nodes",
    "draw_field",
    "error_against_distance",
    "error_against_rank",
    "error_against_size",
    "error_over_time",
    "errors_against_budget",
    "errors_in_precision",
    "errors_of_choices",
    "film_strip",
    "histograms",
    "loss_curves",
    "movie",
    "sample_sheet",
    "singular_values",
]

"""Every picture the project draws, as PNG files."""

from lrsa_geo.plot.curves import (
    error_against_distance,
    error_against_size,
    histograms,
    loss_curves,
)
from lrsa_geo.plot.fields import compare, draw_field, sample_sheet

__all__ = [
    "compare",
    "draw_field",
    "error_against_distance",
    "error_against_size",
    "histograms",
    "loss_curves",
    "sample_sheet",
]

"""Checks of stores and mesh files for what spoils training."""

from lrsa_geo.data.check.fields import LARGE_OFFSET, UNLIKE_SIZES
from lrsa_geo.data.check.files import check_files
from lrsa_geo.data.check.findings import Finding, Kind
from lrsa_geo.data.check.stores import check_store

__all__ = ["LARGE_OFFSET", "UNLIKE_SIZES", "Finding", "Kind", "check_files", "check_store"]

"""Neural operators on meshes and point clouds with low-rank spatial attention (LRSA)."""

from importlib.metadata import version

__version__ = version("lrsa_geo")

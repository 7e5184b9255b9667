"""Neural operators on meshes and point clouds with Low-Rank Spatial Attention (arXiv 2604.03582)."""

from importlib.metadata import version

__version__ = version("lrsa_geo")

"""Sparse systems of finite elements."""

from __future__ import annotations

from scipy.sparse import spmatrix
from scipy.sparse.linalg import SuperLU, splu


def factorised(matrix: spmatrix, pivot_threshold: float = 0.0) -> SuperLU:
    """LU factors of a matrix with a symmetric pattern, by a symmetric ordering.

    On Elasticity's meshes that takes a third of the time of the default.

    Args:
        matrix: square.
        pivot_threshold: how much smaller than the largest of its column a diagonal entry may be and
            still be the pivot; 0 is right for definite matrices.
    """
    return splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=pivot_threshold,
        options={"SymmetricMode": True},
    )

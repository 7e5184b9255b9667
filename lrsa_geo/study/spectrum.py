"""Singular values of an operator, and how many of them hold most of its norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrsa_geo.plot import singular_values
from lrsa_geo.study.tables import made_with, markdown_rows, write_table

SHARES = (0.9, 0.99, 0.999)
"""Of the Frobenius norm, at which effective ranks are reported."""


def effective_rank(singular_values: np.ndarray, share: float, rest: float = 0.0) -> int | None:
    r"""How many singular values hold a share of the Frobenius norm.

    .. math::
        \min \Big\{ k : \sqrt{\textstyle\sum_{i \le k} \sigma_i^2}
            \ge \mathrm{share} \cdot \sqrt{\textstyle\sum_i \sigma_i^2} \Big\}

    It is a share of the norm, not of its square: at 0.9, 0.99 and 0.999 the best approximation of
    that rank misses 0.44, 0.14 and 0.045 of the operator, relative to its norm.

    Args:
        singular_values: in any order.
        share: above 0, at most 1.
        rest: sum of squares of smaller singular values that are not among them.

    Returns:
        k, 0 for an operator that is 0; None if more than the known values are needed.

    Raises:
        ValueError: the share is none.

    Examples:
        >>> from lrsa_geo.study import effective_rank
        >>> effective_rank([4.0, 3.0, 0.0], 0.8), effective_rank([4.0, 3.0, 0.0], 0.81)
        (1, 2)
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` is {share}, expected more than 0 and at most 1")
    squares = np.sort(np.square(np.asarray(singular_values, dtype=float)))[::-1]
    held = np.concatenate([[0.0], np.cumsum(squares)])
    total = held[-1] + rest
    # Rounding must not ask for one value more where the share is held exactly.
    enough = np.flatnonzero(held >= share**2 * total * (1 - 1e-12))
    return int(enough[0]) if len(enough) else None


@dataclass(frozen=True)
class Spectrum:
    """The singular values of an operator.

    Attributes:
        name: in tables and pictures.
        values: the largest ones, in descending order.
        rest: sum of squares of all smaller ones, 0 if there are none.
        limit: rank that the operator cannot exceed; None if none is known.

    Examples:
        >>> import numpy as np
        >>> from lrsa_geo.study import Spectrum
        >>> Spectrum.of_matrix("twice", 2 * np.eye(3)).rank(0.9)
        3
    """

    name: str
    values: np.ndarray
    rest: float = 0.0
    limit: int | None = None

    @classmethod
    def of_matrix(cls, name: str, matrix: np.ndarray, limit: int | None = None) -> Spectrum:
        """All singular values of a matrix."""
        return cls(name, np.linalg.svd(matrix, compute_uv=False), limit=limit)

    @classmethod
    def of_kernel(cls, name: str, kernel: np.ndarray, measure: np.ndarray) -> Spectrum:
        r"""Of the integral operator (K f)(x) = int k(x, y) f(y) dy, by quadrature.

        Those of the matrix :math:`\sqrt{w_i} \, k(x_i, x_j) \, \sqrt{w_j}`, which approximate those
        of the operator between square-integrable functions.

        Args:
            name: in tables and pictures.
            kernel: ``[N, N]`` k at the nodes.
            measure: ``[N]`` w, weights of the quadrature.
        """
        root = np.sqrt(measure)
        return cls.of_matrix(name, root[:, None] * kernel * root)

    @property
    def norm(self) -> float:
        """Frobenius norm."""
        return float(np.sqrt(np.square(self.values).sum() + self.rest))

    def rank(self, share: float) -> int | None:
        """See :func:`effective_rank`."""
        return effective_rank(self.values, share, self.rest)


def write_spectra(spectra: Sequence[Spectrum], folder: Path, about: str) -> str:
    """Write ``spectrum.csv``, ``spectrum.md`` and ``spectrum.png`` into a folder.

    Args:
        spectra: in the order of the table.
        folder: made if need be.
        about: what was measured, in Markdown.

    Returns:
        The text of ``spectrum.md``.
    """
    rows = [[s.name, k, value] for s in spectra for k, value in enumerate(s.values, 1)]
    write_table(folder / "spectrum.csv", [["operator", "number", "singular_value"], *rows])
    table = []
    for spectrum in spectra:
        ranks = [spectrum.rank(share) for share in SHARES]
        found = [f"> {len(spectrum.values)}" if rank is None else str(rank) for rank in ranks]
        limit = "" if spectrum.limit is None else f"{spectrum.limit:,}"
        table.append([spectrum.name, f"{spectrum.norm:.4g}", *found, limit])
    head = ["operator", "Frobenius norm", *(f"rank at {100 * share:g} %" for share in SHARES)]
    lines = [about, "", *markdown_rows([*head, "highest possible rank"], table), "", made_with()]
    text = "\n".join(lines) + "\n"
    write_table(folder / "spectrum.md", text)
    singular_values(
        {spectrum.name: spectrum.values for spectrum in spectra}, folder / "spectrum.png"
    )
    return text

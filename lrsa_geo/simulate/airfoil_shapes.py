"""Airfoils from coordinate files: read, checked, brought to unit chord, and made smooth."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np

from lrsa_geo.files import atomic_path, shipped_datasets

ORDER = 9  # of the Bernstein polynomials of each surface
WIDEST_GAP = 0.02  # of the trailing edge, in chords; more is an open outline
LARGEST_MISFIT = 0.004  # of the smooth outline, in chords
THINNEST_WEDGE = 0.02  # thickness over distance from the trailing edge: an angle of 1.1 degrees
THICKNESS = (0.03, 0.30)  # of what we call an airfoil, in chords


class AirfoilError(ValueError):
    """Coordinates that are no airfoil; the message says why."""


@dataclass(frozen=True)
class Outline:
    r"""A smooth airfoil of unit chord with a sharp trailing edge at (1, 0), its nose at (0, 0).

    Kulfan's class and shape functions (AIAA 2007-62), each surface s being

    .. math:: y_s(x) = \sqrt x \, (1 - x) \sum_{k=0}^{9} a_{s,k} \binom 9 k x^k (1 - x)^{9-k}

    with :math:`a_{lower,0} = -a_{upper,0}`, so that the nose is round.

    Attributes:
        upper: ``[10]`` coefficients.
        lower: ``[10]``.
    """

    upper: np.ndarray
    lower: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray) -> tuple[Outline, float]:
        """Least squares through :func:`normalised` points; also the largest misfit in chords.

        A blunt trailing edge is closed: each surface is moved by x times half of the gap.
        """
        nose = int(points[:, 0].argmin())
        gap = (points[0, 1] - points[-1, 1]) / 2
        centre = (points[0, 1] + points[-1, 1]) / 2
        above = np.arange(len(points)) <= nose
        x = points[:, 0].clip(0, 1)
        y = points[:, 1] - x * (centre + np.where(above, gap, -gap))
        shapes = _shapes(x)
        matrix = np.zeros((len(x), 2 * ORDER + 1))
        matrix[:, 0] = np.where(above, 1, -1) * shapes[:, 0]
        matrix[above, 1 : ORDER + 1] = shapes[above, 1:]
        matrix[~above, ORDER + 1 :] = shapes[~above, 1:]
        # A whiff of damping: few points cannot fix ten coefficients.
        damping = 1e-4 * np.eye(2 * ORDER + 1)
        found, *_ = np.linalg.lstsq(
            np.vstack([matrix, damping]), np.append(y, np.zeros(2 * ORDER + 1)), rcond=None
        )
        misfit = float(np.abs(matrix @ found - y).max())
        upper = found[: ORDER + 1]
        lower = np.append(-found[0], found[ORDER + 1 :])
        return cls(upper, lower), misfit

    def surfaces(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of the upper and the lower surface at positions ``x [n]`` along the chord."""
        shapes = _shapes(x)
        return shapes @ self.upper, shapes @ self.lower

    @property
    def thickness(self) -> float:
        """Largest, in chords."""
        upper, lower = self.surfaces(np.linspace(0, 1, 201))
        return float((upper - lower).max())

    @property
    def inside(self) -> tuple[float, float]:
        """The point farthest from both surfaces, about: the middle of the thickest place."""
        x = np.linspace(0, 1, 201)
        upper, lower = self.surfaces(x)
        thickest = int((upper - lower).argmax())
        return float(x[thickest]), float((upper + lower)[thickest] / 2)

    @property
    def nose_radius(self) -> float:
        """In chords: y = a sqrt(x) near the nose."""
        return float(self.upper[0] ** 2 / 2)

    def points(self, number: int) -> np.ndarray:
        """``[2 number, 2]`` from the trailing edge over the upper surface to the nose and back.

        They are dense at both ends: x = (1 + cos t) / 2.
        """
        angle = np.linspace(0, 2 * np.pi, 2 * number, endpoint=False)
        x = (1 + np.cos(angle)) / 2
        upper, lower = self.surfaces(x)
        return np.column_stack([x, np.where(angle <= np.pi, upper, lower)])


def _shapes(x: np.ndarray) -> np.ndarray:
    k = np.arange(ORDER + 1)
    binomial = np.array([comb(ORDER, int(i)) for i in k])
    x = x[:, None]
    return np.sqrt(x) * (1 - x) * binomial * x**k * (1 - x) ** (ORDER - k)


def read_coordinates(text: str) -> np.ndarray:
    """Points of a coordinate file, ``[n, 2]``, in Selig's or in Lednicer's order.

    Selig's runs around the airfoil; Lednicer's gives the number of points of both surfaces and then
    each from nose to tail. Selig's order is returned. Lines that hold no two numbers are skipped.

    Raises:
        AirfoilError: there are fewer than 15 points.
    """
    rows = []
    for line in text.splitlines():
        try:
            numbers = [float(word) for word in line.replace(",", " ").split()]
        except ValueError:
            continue
        if len(numbers) == 2:
            rows.append(numbers)
    if len(rows) < 15:
        raise AirfoilError(f"has {len(rows)} points, expected at least 15")
    points = np.array(rows)
    if points[0].min() > 5:  # the counts of Lednicer's order
        upper = int(points[0, 0])
        points = points[1:]
        if not 5 < upper < len(points) - 5:
            raise AirfoilError(f"says that {upper} of its {len(points)} points are above")
        points = np.concatenate([points[:upper][::-1], points[upper:]])
    return points


def normalised(points: np.ndarray) -> np.ndarray:
    """The outline with its nose at (0, 0) and the middle of its trailing edge at (1, 0).

    The nose is the point farthest from the trailing edge. Points that repeat are dropped; the order
    becomes that of Selig: trailing edge, upper surface, nose, lower surface.

    Raises:
        AirfoilError: the outline is open, crosses itself, is no airfoil, or is not smooth.
    """
    if not np.isfinite(points).all():
        raise AirfoilError("has coordinates that are not finite")
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(1))]
    tail = (points[0] + points[-1]) / 2
    distance = np.linalg.norm(points - tail, axis=1)
    nose = int(distance.argmax())
    chord = points[nose] - tail
    length = float(np.linalg.norm(chord))
    if not 4 < nose < len(points) - 5 or length == 0:
        raise AirfoilError("does not start and end at its trailing edge, expected it to")
    along = -chord / length
    relative = (points - points[nose]) / length
    points = np.column_stack([relative @ along, relative @ [-along[1], along[0]]])
    if points[:nose, 1].mean() < points[nose:, 1].mean():
        points = points[::-1]
    gap = float(np.linalg.norm(points[0] - points[-1]))
    if gap > WIDEST_GAP:
        raise AirfoilError(f"is open: {gap:.3f} chords between its ends, at most {WIDEST_GAP}")
    if _crosses_itself(points):
        raise AirfoilError("crosses itself")
    return points


def smooth_outline(points: np.ndarray) -> Outline:
    """The smooth outline of :func:`normalised` points.

    Raises:
        AirfoilError: it misses a point by more than 0.4 % of the chord, has no thickness
            somewhere, next to none at the trailing edge, or is thinner than 3 % or thicker than
            30 %.
    """
    outline, misfit = Outline.fit(points)
    if misfit > LARGEST_MISFIT:
        raise AirfoilError(
            f"is not smooth: {misfit:.4f} chords from its fit, at most {LARGEST_MISFIT}"
        )
    x = np.append(np.linspace(0, 1, 202)[1:-1], 0.999)
    upper, lower = outline.surfaces(x)
    if (upper <= lower).any():
        raise AirfoilError("its surfaces touch before the trailing edge")
    if ((upper - lower)[x > 0.9] < THINNEST_WEDGE * (1 - x[x > 0.9])).any():
        raise AirfoilError("is too thin at its trailing edge to be meshed")
    if not THICKNESS[0] <= outline.thickness <= THICKNESS[1]:
        raise AirfoilError(f"is {outline.thickness:.3f} chords thick, expected {THICKNESS}")
    return outline


def _crosses_itself(points: np.ndarray) -> bool:
    """Whether two edges of the outline that are no neighbours meet."""
    start, end = points[:-1], points[1:]

    def side(a: np.ndarray, b: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.sign(
            (b - a)[:, None, 0] * (p - a[:, None])[..., 1]
            - (b - a)[:, None, 1] * (p - a[:, None])[..., 0]
        )

    one = side(start, end, start[None]) * side(start, end, end[None]) < 0
    return bool((one & one.T).any())


@dataclass(frozen=True)
class ShapeLibrary:
    """The airfoils that come with the library, see ``datasets/airfoil/README.md``.

    Attributes:
        names: of the coordinate files.
        groups: ``[n]`` family of each; shapes that are alike are in one.
        points: normalised points of each, ``[., 2]``.
    """

    names: list[str]
    groups: np.ndarray
    points: list[np.ndarray]

    @classmethod
    def load(cls, path: Path | None = None) -> ShapeLibrary:
        """Read ``shapes.npz``; nothing in it is executed."""
        path = path or shipped_datasets() / "airfoil" / "shapes.npz"
        with np.load(path, allow_pickle=False) as file:
            points = np.split(file["points"].astype(np.float64), np.cumsum(file["sizes"])[:-1])
            return cls(file["names"].tolist(), file["groups"], points)

    def save(self, path: Path) -> None:
        """Write what :meth:`load` reads."""
        with atomic_path(path) as temporary:
            np.savez_compressed(
                temporary,
                names=np.array(self.names),
                groups=self.groups.astype(np.int16),
                sizes=np.array([len(points) for points in self.points], dtype=np.int16),
                points=np.concatenate(self.points).astype(np.float32),
            )

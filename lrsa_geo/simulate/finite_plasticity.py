r"""Large elastic-plastic deformation of a plane block under a rigid die, without friction.

Multiplicative plasticity in plane strain: logarithmic elastic strains and von Mises' yield stress
:math:`\sigma_Y + H \alpha` with a radial return (Simo, 1992). Quads of four nodes, whose change of
volume is that of their middle (F-bar; de Souza Neto and others, 1996), do not lock. Equilibrium is
found by Newton's method; the derivatives of each element's forces are differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import splu

from lrsa_geo.jobs import SampleError

Profile = Callable[[np.ndarray], np.ndarray]
_GAUSS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / np.sqrt(3)
_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
TOLERANCE = 1e-6  # of the residual, over the largest force
MOST_ITERATIONS = 25
SHORTEST = 1 / 64  # of the wanted step


@dataclass(frozen=True)
class Metal:
    """Isotropic, von Mises with linear hardening; by default ten times softer than steel.

    Plastic flow hides the elastic strain, and the yield strain decides how short steps must be.

    Args:
        young: E in Pa.
        poisson: Poisson's ratio.
        yield_stress: in Pa.
        hardening: H, growth of the yield stress with the plastic strain, in Pa.
    """

    young: float = 20e9
    poisson: float = 0.3
    yield_stress: float = 70e6
    hardening: float = 300e6


@dataclass(frozen=True)
class Block:
    """State of a block of N nodes and K quads.

    Attributes:
        points: ``[N, 2]`` in m, before.
        cells: ``[K, 4]``, counter-clockwise.
        displacement: ``[N, 2]`` in m.
        inverse: ``[K, 4, 3, 3]``, the inverse of the plastic right Cauchy-Green tensor.
        plastic_strain: alpha, ``[K, 4]`` at the points of integration.
        stress: ``[K, 4, 3, 3]`` in Pa, Cauchy's.
        rate: ``[N, 2]``, change of the displacement over the die's in the last step.
        held: ``[N]`` bool, nodes that the die has reached.
        force: ``[2]`` in N per m of depth, of the die on the block.
    """

    points: np.ndarray
    cells: np.ndarray
    displacement: np.ndarray
    inverse: np.ndarray
    plastic_strain: np.ndarray
    stress: np.ndarray
    rate: np.ndarray
    held: np.ndarray
    force: np.ndarray

    @classmethod
    def at_rest(cls, points: np.ndarray, cells: np.ndarray) -> Block:
        """Undeformed, without stress."""
        at_points = (len(cells), 4)
        identity = np.broadcast_to(np.eye(3), (*at_points, 3, 3)).copy()
        zero = np.zeros((*at_points, 3, 3))
        held = np.zeros(len(points), dtype=bool)
        plastic = np.zeros(at_points)
        return cls(
            points, cells, 0 * points, identity, plastic, zero, 0 * points, held, np.zeros(2)
        )

    def at_nodes(self, values: np.ndarray) -> np.ndarray:
        """Means over the cells at each node of ``[K, 4]`` values, ``[N]``."""
        where = self.cells.ravel()
        counts = np.bincount(where, minlength=len(self.points))
        return np.bincount(where, values.ravel(), minlength=len(self.points)) / counts


class Press:
    """A block on its base and a die above it, which takes nodes of the top down with it.

    A node is held once the die has reached it: its height is then that of the die where the node
    is, while it slides sideways without friction. It is not let go again.

    Args:
        metal: of the block.
        points: ``[N, 2]`` in m; the base is at y = 0.
        cells: ``[K, 4]``.
        height: of the die's lower side at x ``[M]``, in m, before it moves down.
        clamped: the base does not slide.
    """

    def __init__(
        self,
        metal: Metal,
        points: np.ndarray,
        cells: np.ndarray,
        height: Profile,
        clamped: bool = True,
    ) -> None:
        self.metal, self.height, self.points, self.cells = metal, height, points, cells
        self._slopes, self._volumes = _derivatives(points[cells], _GAUSS)
        self._middle, _ = _derivatives(points[cells], np.zeros((1, 2)))
        x, y = points.T
        self._top = np.flatnonzero(np.isclose(y, y.max()))
        base = np.isclose(y, 0)
        self._fixed = np.column_stack([base if clamped else base & np.isclose(x, x.min()), base])
        self._dofs = (2 * cells[:, :, None] + [0, 1]).reshape(len(cells), 8)
        self._rows = np.repeat(self._dofs, 8, axis=1).ravel(), np.tile(self._dofs, (1, 8)).ravel()
        self._step = 1e-7 * float(np.sqrt(self._volumes.sum(1)).mean())

    def pressed(self, block: Block, depth: float, to: float) -> Block:
        """The block when the die has moved from ``depth`` down to ``to``, both in m.

        Steps in which Newton's method fails are halved.

        Raises:
            SampleError: a step of a 64th fails, too.
        """
        wanted, step = to - depth, to - depth
        while to - depth > 1e-9 * wanted:
            step = min(step, to - depth)
            try:
                with np.errstate(all="ignore"):  # a step too far ends in NaN, which is noticed
                    moved = self._equilibrium(block, depth + step, step * block.rate)
            except (_NoEquilibriumError, np.linalg.LinAlgError, RuntimeError):
                step /= 2
                if step < SHORTEST * wanted:
                    raise SampleError(
                        f"no equilibrium with the die {1e3 * depth:.3g} mm down, in steps of"
                        f" {1e3 * step:.2g} mm"
                    ) from None
                continue
            rate = (moved.displacement - block.displacement) / step
            block, depth, step = replace(moved, rate=rate), depth + step, 2 * step
        return block

    def _equilibrium(self, block: Block, depth: float, guess: np.ndarray) -> Block:
        x, y = (self.points + block.displacement)[self._top].T
        die = self.height(x) - depth
        held = block.held[self._top] | (y >= die)
        nodes = self._top[held]
        fixed = self._fixed.copy()
        fixed[nodes, 1] = True
        free, moved = np.flatnonzero(~fixed.ravel()), 2 * nodes + 1
        u = block.displacement + guess
        push = np.zeros(u.size)
        push[moved] = (die - y)[held] - guess[nodes, 1]
        for _ in range(MOST_ITERATIONS):
            inner = self._forces(block, u[self.cells])[0]
            summed = np.bincount(self._dofs.ravel(), inner.ravel(), u.size)
            size = max(np.abs(inner).max(), 1.0)
            if not push.any() and np.abs(summed[free]).max() < TOLERANCE * size:
                now_held = block.held.copy()
                now_held[nodes] = True
                force = summed.reshape(-1, 2)[nodes].sum(0)
                return replace(self._state(block, u), force=force, held=now_held)
            tangent = self._tangent(block, u, inner)
            right_side = -summed[free] - tangent[free] @ push
            change = push.copy()
            change[free] = splu(tangent[free][:, free].tocsc()).solve(right_side)
            if not np.isfinite(change).all():
                break
            pushed, before, share = push.any(), np.linalg.norm(summed[free]), 1.0
            while not pushed and share > 1 / 64:
                trial = u + share * change.reshape(u.shape)
                inner = self._forces(block, trial[self.cells])[0]
                left = np.bincount(self._dofs.ravel(), inner.ravel(), u.size)[free]
                if np.linalg.norm(left) < before:
                    break
                share /= 2
            u += share * change.reshape(u.shape)
            push[:] = 0
        raise _NoEquilibriumError

    def _tangent(self, block: Block, u: np.ndarray, inner: np.ndarray) -> csr_matrix:
        columns = []
        for corner, axis in np.ndindex(4, 2):
            moved = u[self.cells]
            moved[:, corner, axis] += self._step
            columns.append((self._forces(block, moved)[0] - inner) / self._step)
        values = np.stack(columns, axis=2).ravel()
        return coo_matrix((values, self._rows), shape=(u.size, u.size)).tocsr()

    def _state(self, block: Block, u: np.ndarray) -> Block:
        _, inverse, plastic, stress = self._forces(block, u[self.cells])
        return replace(
            block, displacement=u, inverse=inverse, plastic_strain=plastic, stress=stress
        )

    def _forces(
        self, block: Block, u: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Forces ``[K, 8]`` of the elements from corner displacements ``[K, 4, 2]``; the state."""
        gradient = np.zeros((*block.plastic_strain.shape, 3, 3))
        gradient[..., :2, :2] = np.einsum("kci,kgcj->kgij", u, self._slopes)
        gradient += np.eye(3)
        in_plane = gradient[..., :2, :2].copy()
        middle = np.eye(2) + np.einsum("kci,kcj->kij", u, self._middle[:, 0])
        volume = _determinant(in_plane)
        stretched = np.sqrt(_determinant(middle)[:, None] / volume)
        gradient[..., :2, :2] *= stretched[..., None, None]
        stress, inverse, plastic = returned(
            self.metal, gradient, block.inverse, block.plastic_strain
        )
        spatial = np.einsum("kgcj,kgji->kgci", self._slopes, np.linalg.inv(in_plane))
        weight = self._volumes * volume
        force = np.einsum("kgci,kgij,kg->kcj", spatial, stress[..., :2, :2], weight)
        return force.reshape(len(force), 8), inverse, plastic, stress


class _NoEquilibriumError(Exception):
    pass


def returned(
    metal: Metal, gradient: np.ndarray, inverse: np.ndarray, plastic: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cauchy stress, inverse plastic tensor and plastic strain after a radial return.

    Args:
        metal: the material.
        gradient: of the deformation, ``[..., 3, 3]``; x and y do not couple with z.
        inverse: of the plastic right Cauchy-Green tensor, before.
        plastic: alpha ``[...]``, before.
    """
    shear = metal.young / (2 * (1 + metal.poisson))
    bulk = metal.young / (3 * (1 - 2 * metal.poisson))
    trial = gradient @ inverse @ np.swapaxes(gradient, -1, -2)
    squares, axes = _principal(trial)
    strain = np.log(squares) / 2
    mean = strain.sum(-1, keepdims=True)
    deviator = strain - mean / 3
    length = np.sqrt(2 / 3 * (deviator**2).sum(-1))  # the equivalent strain
    excess = 3 * shear * length - metal.yield_stress - metal.hardening * plastic
    flow = np.maximum(excess, 0) / (3 * shear + metal.hardening)
    kept = 1 - np.divide(flow, length, out=np.zeros_like(flow), where=flow > 0)
    deviator = deviator * kept[..., None]
    principal = 2 * shear * deviator + bulk * mean
    volume = np.exp(mean)
    stress = _assembled(principal / volume, axes)
    elastic = _assembled(np.exp(2 * (deviator + mean / 3)), axes)
    back = np.linalg.inv(gradient)
    inverse = back @ elastic @ np.swapaxes(back, -1, -2)
    return stress, inverse, plastic + flow


def _assembled(principal: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return (axes * principal[..., None, :]) @ np.swapaxes(axes, -1, -2)


def _principal(tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues ``[..., 3]`` and eigenvectors of tensors that do not couple x and y with z."""
    x, y, shear = tensor[..., 0, 0], tensor[..., 1, 1], tensor[..., 0, 1]
    angle = np.arctan2(2 * shear, x - y) / 2
    radius = np.hypot((x - y) / 2, shear)
    values = np.stack([(x + y) / 2 + radius, (x + y) / 2 - radius, tensor[..., 2, 2]], axis=-1)
    axes = np.zeros_like(tensor)
    axes[..., 0, 0] = axes[..., 1, 1] = np.cos(angle)
    axes[..., 1, 0] = np.sin(angle)
    axes[..., 0, 1] = -axes[..., 1, 0]
    axes[..., 2, 2] = 1
    return values, axes


def _determinant(matrices: np.ndarray) -> np.ndarray:
    """Of ``[..., 2, 2]``."""
    product = matrices[..., 0, 0] * matrices[..., 1, 1]
    return product - matrices[..., 0, 1] * matrices[..., 1, 0]


def _derivatives(corners: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives ``[K, G, 4, 2]`` of the functions of quads ``[K, 4, 2]``, and volumes."""
    r, s = at[:, None, :1] * _CORNERS[:, :1], at[:, None, 1:] * _CORNERS[:, 1:]
    local = np.concatenate([_CORNERS[:, :1] * (1 + s), _CORNERS[:, 1:] * (1 + r)], axis=2) / 4
    jacobian = np.einsum("kci,gcj->kgij", corners, local)
    slopes = np.einsum("gcj,kgji->kgci", local, np.linalg.inv(jacobian))
    return slopes, _determinant(jacobian) * 4 / len(at)

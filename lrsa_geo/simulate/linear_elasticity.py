"""Linear elasticity of solids on quadratic tetrahedra.

    div sigma = 0,   sigma = lambda tr(eps) I + 2 mu eps,   eps = (grad u + grad u^T) / 2,

u = 0 on the clamped surface and sigma n = F / A on the loaded one (A its area). The equations are
solved by conjugate gradients; the preconditioner adds the exact solution on linear tetrahedra,
which a direct solver factorises once, to a Jacobi step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import LinearOperator, cg
from skfem import Basis, ElementTetP2, ElementVector, FacetBasis, MeshTet, asm
from skfem.assembly import LinearForm
from skfem.models.elasticity import linear_elasticity

from lrsa_geo.jobs import SampleError
from lrsa_geo.simulate.sparse import factorised

TOLERANCE = 1e-8  # of the residual, relative to the load
MOST_ITERATIONS = 1500

# Corners and middles of edges of the unit tetrahedron, in skfem's order of edges, and the eight
# tetrahedra between them.
_EDGES = np.array([[0, 1], [1, 2], [0, 2], [0, 3], [1, 3], [2, 3]])
_PARTS = np.array(
    [
        [0, 4, 6, 7],
        [4, 1, 5, 8],
        [6, 5, 2, 9],
        [7, 8, 9, 3],
        [4, 6, 7, 8],
        [4, 5, 6, 8],
        [6, 7, 8, 9],
        [5, 6, 8, 9],
    ]
)

Where = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Material:
    """Isotropic, steel by default.

    Args:
        young: E in Pa.
        poisson: Poisson's ratio.
    """

    young: float = 210e9
    poisson: float = 0.3

    @property
    def lame(self) -> tuple[float, float]:
        """(lambda, mu) in Pa."""
        e, nu = self.young, self.poisson
        return e * nu / ((1 + nu) * (1 - 2 * nu)), e / (2 * (1 + nu))


@dataclass(frozen=True)
class SolidSolution:
    """Equilibrium at the N corners and middles of edges of the tetrahedra.

    Attributes:
        points: ``[N, 3]`` in m, the corners first.
        cells: ``[8 K, 4]`` linear tetrahedra between them.
        displacement: ``[N, 3]`` in m.
        stress: ``[N, 3, 3]`` in Pa, the volume-weighted mean of the cells at each node.
        clamped: ``[N]`` bool.
        loaded: ``[N]`` bool.
        reaction: ``[3]`` in N, what the clamp exerts.
        iterations: of the conjugate gradients.
    """

    points: np.ndarray
    cells: np.ndarray
    displacement: np.ndarray
    stress: np.ndarray
    clamped: np.ndarray
    loaded: np.ndarray
    reaction: np.ndarray
    iterations: int

    @property
    def von_mises(self) -> np.ndarray:
        """sqrt(3/2 s:s) with s the deviator of the stress, ``[N]`` in Pa."""
        return von_mises(self.stress)


def von_mises(stress: np.ndarray) -> np.ndarray:
    """sqrt(3/2 s:s) with s the deviator of the stress, ``[N, 3, 3]`` -> ``[N]``."""
    mean = np.trace(stress, axis1=1, axis2=2) / 3
    deviator = stress - mean[:, None, None] * np.eye(3)
    return np.sqrt(1.5 * np.einsum("nij,nij->n", deviator, deviator))


@dataclass(frozen=True)
class QuadraticBody:
    """A body of quadratic tetrahedra.

    Attributes:
        basis: quadratic functions on it.
        clamped, loaded: ``[N] bool``, nodes of either surface.
        loaded_facets: numbers of the facets of the loaded surface.
    """

    basis: Basis
    clamped: np.ndarray
    loaded: np.ndarray
    loaded_facets: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """``[N, 3]``: corners and middles of edges."""
        points: np.ndarray = self.basis.doflocs.T
        return points

    @cached_property
    def cells(self) -> np.ndarray:
        """``[8 K, 4]`` linear tetrahedra between the nodes."""
        return _upright(self.points, self.basis.element_dofs.T[:, _PARTS].reshape(-1, 4))


def quadratic_body(
    points: np.ndarray, cells: np.ndarray, clamped: Where, loaded: Where
) -> QuadraticBody:
    """Quadratic tetrahedra of linear ones; arguments and errors as of :func:`solve_solid`."""
    mesh = MeshTet(points.T.copy(), cells.T.copy())
    basis = Basis(mesh, ElementTetP2(), intorder=2)
    corners = mesh.p[:, mesh.facets[:, mesh.boundary_facets()]].transpose(2, 1, 0)

    def surface(name: str, where: Where) -> tuple[np.ndarray, np.ndarray]:
        found = where(corners).all(1)
        if not found.any():
            raise SampleError(f"no facet of the mesh is {name}")
        facets = mesh.boundary_facets()[found]
        nodes = np.zeros(basis.N, dtype=bool)
        nodes[basis.get_dofs(facets=facets).all()] = True
        return nodes, facets

    fixed, _ = surface("clamped", clamped)
    return QuadraticBody(basis, fixed, *surface("loaded", loaded))


def solve_solid(
    points: np.ndarray,
    cells: np.ndarray,
    clamped: Where,
    loaded: Where,
    force: np.ndarray,
    material: Material,
    prescribed: Callable[[np.ndarray], np.ndarray] | None = None,
) -> SolidSolution:
    """Equilibrium of a body that is clamped at some facets and loaded at others.

    Args:
        points: ``[n, 3]`` in m.
        cells: tetrahedra ``[K, 4]``.
        clamped: tells of points ``[..., 3]`` which lie on the clamped surface; a facet is clamped
            if its three corners are.
        loaded: likewise for the loaded surface.
        force: ``[3]`` in N, spread evenly over the loaded surface.
        material: constants.
        prescribed: displacement ``[..., 3]`` of points of the clamped surface, 0 by default.

    Raises:
        SampleError: nothing is clamped or loaded, or no convergence.
    """
    body = quadratic_body(points, cells, clamped, loaded)
    basis, is_fixed, is_loaded = body.basis, body.clamped, body.loaded
    mesh, nodes = basis.mesh, body.points

    # Component a of node i is unknown 3 i + a.
    vectors = basis.with_element(ElementVector(ElementTetP2()))
    stiffness = asm(linear_elasticity(*material.lame), vectors).tocsr()
    surface = FacetBasis(mesh, ElementTetP2(), facets=body.loaded_facets, intorder=2)
    share = np.where(is_loaded, asm(LinearForm(lambda v, w: v), surface), 0)
    load = (share / share.sum())[:, None] * force
    displacement = np.zeros((basis.N, 3))
    if prescribed is not None:
        displacement[is_fixed] = prescribed(nodes[is_fixed])
    free = np.flatnonzero(np.repeat(~is_fixed, 3))
    right = (load.reshape(-1) - stiffness @ displacement.reshape(-1))[free]
    inner = stiffness[free][:, free].tocsr()
    coarse = _prolongation(basis)[free]
    solved, iterations = _solve(inner, coarse, right)
    displacement.reshape(-1)[free] = solved
    internal = (stiffness @ displacement.reshape(-1)).reshape(-1, 3)
    return SolidSolution(
        points=nodes,
        cells=body.cells,
        displacement=displacement,
        stress=_stress(mesh, basis, displacement, material),
        clamped=is_fixed,
        loaded=is_loaded,
        reaction=(internal - load)[is_fixed].sum(0),
        iterations=iterations,
    )


def _upright(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The same tetrahedra with positive volume."""
    a, b, c, d = points[cells].transpose(1, 0, 2)
    is_inverted = np.einsum("kd,kd->k", np.cross(b - a, c - a), d - a) < 0
    return np.where(is_inverted[:, None], cells[:, [0, 2, 1, 3]], cells)


def _prolongation(basis: Basis) -> csr_matrix:
    """Linear functions as quadratic ones, ``[3 N, 3 n]``: a middle is the mean of its corners."""
    number = basis.element_dofs.T
    corner_count = basis.mesh.p.shape[1]
    middles, first = np.unique(number[:, 4:], return_index=True)
    ends = number[:, _EDGES].reshape(-1, 2)[first]
    rows = np.concatenate([np.arange(corner_count), np.repeat(middles, 2)])
    columns = np.concatenate([np.arange(corner_count), ends.reshape(-1)])
    values = np.concatenate([np.ones(corner_count), np.full(2 * len(middles), 0.5)])
    spread = [3 * rows + a for a in range(3)], [3 * columns + a for a in range(3)]
    return csr_matrix(
        (np.tile(values, 3), (np.concatenate(spread[0]), np.concatenate(spread[1]))),
        (3 * basis.N, 3 * corner_count),
    )


def _solve(matrix: csr_matrix, coarse: csr_matrix, right: np.ndarray) -> tuple[np.ndarray, int]:
    used = np.flatnonzero(np.asarray((coarse != 0).sum(0)).ravel())
    coarse = coarse[:, used]
    factors = factorised(coarse.T @ matrix @ coarse)
    inverse_diagonal = diags(1 / matrix.diagonal())
    restrict = coarse.T.tocsr()
    count = 0

    def precondition(residual: np.ndarray) -> np.ndarray:
        return inverse_diagonal @ residual + coarse @ factors.solve(restrict @ residual)

    def step(_: np.ndarray) -> None:
        nonlocal count
        count += 1

    solved, failed = cg(
        matrix,
        right,
        rtol=TOLERANCE,
        maxiter=MOST_ITERATIONS,
        M=LinearOperator(matrix.shape, precondition),
        callback=step,
    )
    if failed:
        raise SampleError(f"no equilibrium in {MOST_ITERATIONS} iterations")
    return solved, count


def _stress(
    mesh: MeshTet, basis: Basis, displacement: np.ndarray, material: Material
) -> np.ndarray:
    """Stress of each cell at its ten nodes, averaged at the nodes by volume: ``[N, 3, 3]``."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    places = np.vstack([corners, corners[_EDGES].mean(1)]).T
    at_nodes = Basis(mesh, ElementTetP2(), quadrature=(places, np.full(10, 1 / 60)))
    gradient = np.stack(
        [at_nodes.interpolate(displacement[:, a]).grad for a in range(3)]
    )  # [3, 3, K, 10]
    strain = (gradient + gradient.swapaxes(0, 1)) / 2
    lame, shear = material.lame
    stress = 2 * shear * strain
    for a in range(3):
        stress[a, a] += lame * np.trace(strain)
    number = basis.element_dofs.T.ravel()
    volume = np.repeat(at_nodes.dx.sum(1), 10)
    total = np.bincount(number, volume, basis.N)
    columns = [
        np.bincount(number, volume * stress[a, b].ravel(), basis.N) / total
        for a in range(3)
        for b in range(3)
    ]
    return np.stack(columns, axis=1).reshape(-1, 3, 3)

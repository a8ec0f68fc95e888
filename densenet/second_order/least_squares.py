"""The mean squared error as a sum of squares: residuals, their Jacobian, and the damped Gauss-Newton step.

With r_sj = sqrt(w_s / (k sum w)) (y_sj - t_sj) the mean squared error is |r|^2. Near the parameters w it is about
|r + J p|^2, a bowl. A solver needs the p that minimises the bowl plus a damping term that keeps p short::

    (J^T J + diag(d)) p = -J^T r

There are three ways. The normal equations are fastest, but square the condition number. A QR factorisation of J with
sqrt(d) below it does not; it is taken if the first way would lose the digits of the step. If parameters outnumber
residuals, J J^T is the smaller matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.linalg import blas, lapack

from densenet._types import Array
from densenet.losses.base import Loss
from densenet.losses.regression import SquaredError
from densenet.second_order.jacobian import jacobian_rows
from densenet.second_order.subjects import free_parameters, solvable_copy
from densenet.sequential import Sequential

EPS = float(np.finfo(np.float64).eps)
_LEAST_RCOND = 1e-10
_SMALLEST = float(np.finfo(np.float64).tiny)


class Bowl:
    """|r + J p|^2 at one point, and its damped minimum.

    Parameters
    ----------
    r : ndarray (m,)
    J : ndarray (m, p) or None
        None if only its products are kept.
    g : ndarray (p,)
        J^T r.
    A : ndarray (p, p) or None
        J^T J; by default it is computed when needed.
    """

    def __init__(self, r: Array, J: Array | None, g: Array, A: Array | None = None) -> None:
        self.r, self.J, self.g, self._A = r, J, g, A
        self._R: Array | None = None
        self._solve: Callable[[Array], Array]
        if J is not None:
            self.squares: Array = np.einsum("mp,mp->p", J, J)
        else:
            self.squares = self.A.diagonal().copy()  # |J_i|^2 of every column

    @property
    def A(self) -> Array:
        """J^T J, both triangles."""
        if self._A is None:
            assert self.J is not None
            self._A = gram(self.J)
        return self._A

    def step(self, d: Array) -> Array | None:
        """p with (J^T J + diag(d)) p = -J^T r; None if rounding leaves no digits of it."""
        J = self.J
        if J is not None and len(J) < J.shape[1]:
            p = self._dual_step(J, d)
        else:
            p = self._normal_step(d)
            if p is None and J is not None:
                p = self._qr_step(J, d)
        return None if p is None or not np.isfinite(p).all() else p

    def correction(self, u: Array) -> Array:
        """a with (J^T J + diag(d)) a = -J^T u, by the factors of the last `step`."""
        return self._solve(u)

    def _normal_step(self, d: Array) -> Array | None:
        """By Cholesky, with columns scaled to unit length; None if the condition number is too large."""
        scale = 1 / np.sqrt(np.maximum(self.squares + d, _SMALLEST))
        C = self.A * scale
        C *= scale[:, None]
        C.flat[:: len(C) + 1] += d * scale**2  # S (J^T J + diag(d)) S
        factor, info = lapack.dpotrf(C.T, lower=1, clean=0, overwrite_a=1)
        if info or not lapack.dpocon(factor, float(len(C)), uplo="L")[0] >= _LEAST_RCOND:
            return None

        def solve(g: Array) -> Array:
            p, _ = lapack.dpotrs(factor, -g * scale, lower=1)
            return np.asarray(p * scale)

        self._solve = lambda u: solve(u @ self.J)
        return solve(self.g)

    def _qr_step(self, J: Array, d: Array) -> Array | None:
        """By QR of [J r], once, and of its R over [sqrt(d) 0]."""
        n = J.shape[1]
        if self._R is None:
            self._R = _r_factor(np.column_stack([J, self.r]))
        below = np.zeros((n, n + 1))
        below.flat[: n * (n + 1) : n + 2] = np.sqrt(d)
        R = _r_factor(np.vstack([self._R, below]))
        T = R[:n, :n]
        if not T.diagonal().all():
            return None

        def solve(u: Array) -> Array:
            return _triangular(T, _triangular(T, -(u @ J), transposed=1))  # R^T R a = -J^T u

        self._solve = solve
        return _triangular(T, -R[:n, n])  # R p = -Q^T r

    def _dual_step(self, J: Array, d: Array) -> Array | None:
        """p = -D^-1 J^T (J D^-1 J^T + 1)^-1 r, with D = diag(d)."""
        root = np.sqrt(d)
        scaled = J / root
        K = blas.dsyrk(1.0, scaled.T, trans=1)  # J D^-1 J^T, its upper triangle
        K[np.diag_indices(len(K))] += 1
        factor, info = lapack.dpotrf(K, lower=0, clean=0, overwrite_a=1)
        if info:
            return None

        def solve(u: Array) -> Array:
            v, _ = lapack.dpotrs(factor, u, lower=0)
            return np.asarray(-(v @ scaled) / root)

        self._solve = solve
        return solve(self.r)

    def change(self, p: Array) -> float:
        """|J p|^2 + 2 g^T p: by how much the bowl changes along p."""
        along = float(np.square(self.J @ p).sum()) if self.J is not None else float(p @ (self.A @ p))
        return along + 2 * float(self.g @ p)


def gram(J: Array) -> Array:
    """J^T J, both triangles."""
    upper: Array = blas.dsyrk(1.0, J.T)
    upper += np.triu(upper, 1).T
    return upper


def _r_factor(M: Array) -> Array:
    qr, _, _, _ = lapack.dgeqrf(np.asfortranarray(M), overwrite_a=1)
    return np.triu(qr[: M.shape[1]])


def _triangular(T: Array, b: Array, transposed: int = 0) -> Array:
    solution, _ = lapack.dtrtrs(T, b, trans=transposed)
    return np.asarray(solution)


class MeanSquares:
    """Residuals and bowls of a model's mean squared error, in float64, frozen parameters left out.

    Parameters
    ----------
    model : Sequential
        Copied.
    loss : Loss
        A squared error; its factor does not matter here.
    x, y, weight
        All the data.
    max_memory : float
        Bytes that Jacobians, J^T J and work on them may take.
    who : str
        For error messages.

    Raises
    ------
    ValueError
        If the loss is no sum of squares, a layer cannot be solved for, or max_memory is too little.
    """

    def __init__(
        self, model: Sequential, loss: Loss, x: Array, y: Array, weight: Array | None, max_memory: float, who: str
    ) -> None:
        if not isinstance(loss, SquaredError):
            raise ValueError(
                f"{who} expects a loss that is a sum of squares (MeanSquaredError, HalfSquaredError), got {loss!r}: "
                "LBFGS and ConjugateGradient take any loss."
            )
        if model.penalised:
            adds = next(layer for layer in model.every_layer if layer.penalised)
            raise ValueError(
                f"{who} expects an error that is a sum of squares, but {adds!r} adds a penalty: leave "
                "it out; BayesianRegularization finds its own, LBFGS and ConjugateGradient take any."
            )
        self.model = solvable_copy(model, who)
        self.free = free_parameters(model)
        n, k = y.shape
        self.x, self.y = x.astype(np.float64), y.astype(np.float64)
        shares = np.ones(n) if weight is None else weight.astype(np.float64)
        self.scale = np.sqrt(shares / (k * shares.sum()))  # sqrt(w_s / (k sum w))
        self.factor = loss.factor(k) * k  # of the loss, in mean squared errors
        self.w = self.model.params[self.free].copy()
        if not self.w.size:
            raise ValueError(f"{who} got a model without free parameters: there is nothing to solve for.")
        row, square = 8.0 * k * self.model.params.size, 8.0 * self.w.size**2
        self.dense = 3 * (row * n + min(square, 8.0 * (n * k) ** 2)) <= max_memory  # two points, and work
        rest = max_memory - 5 * square
        if not self.dense and rest < 2 * row:
            raise ValueError(
                f"{who} needs {(5 * square + 2 * row) / 1e6:,.1f} MB for {self.w.size:,} parameters, and may take "
                f"{max_memory / 1e6:,.1f} MB: raise max_memory, or use LBFGS, which keeps a few vectors."
            )
        self.rows = n if self.dense else min(n, int(rest // (2 * row)))

    def _chunks(self) -> Iterator[tuple[slice, Array]]:
        """Rows, and their residuals, the model's caches standing at them."""
        for start in range(0, len(self.x), self.rows):
            rows = slice(start, start + self.rows)
            d = self.model.run_forward(self.x[rows], False) - self.y[rows]
            d *= self.scale[rows, None]
            yield rows, d.reshape(-1)

    def residuals(self, w: Array) -> Array:
        """r (n k,) at w; w is where `bowl` stands then."""
        self.model.params[self.free] = w
        return np.concatenate([r for _, r in self._chunks()]) if self.rows < len(self.x) else next(self._chunks())[1]

    def bowl(self, r: Array) -> Bowl:
        """The bowl at the point of the last `residuals`, which were r."""
        n, k, p = len(self.x), self.y.shape[1], self.model.params.size
        if self.dense:
            J = np.empty((n, k, p))
            jacobian_rows(self.model, self.scale, J)
            J = J.reshape(n * k, p)[:, self.free]
            return Bowl(r, J, r @ J)
        A, g = np.zeros((self.w.size,) * 2), np.zeros(self.w.size)
        for rows, part in self._chunks():
            J = np.empty((len(self.x[rows]), k, p))
            jacobian_rows(self.model, self.scale[rows], J)
            J = J.reshape(-1, p)[:, self.free]
            A += gram(J)
            g += part @ J
        return Bowl(r, None, g, A)

    def noise(self, r: Array) -> float:
        """What rounding may do to |r|^2: 2 eps |r|^T |scaled outputs|."""
        scaled = (self.y * self.scale[:, None]).reshape(-1)
        return 2 * EPS * float(np.abs(r) @ (np.abs(scaled) + np.abs(r)))

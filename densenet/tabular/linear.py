"""The linear model as a baseline for every network on a table, and figures with intervals."""

from __future__ import annotations

import numpy as np

from densenet._types import Array


class LinearBaseline:
    """Ridge regression, or multinomial logistic regression, on a network's inputs.

    Numbers (y of floats), with centred X and y, the penalty chosen by generalised cross-validation over 25 values::

        w = (X^T X + lambda I)^-1 X^T y        GCV(lambda) = n |y - X w|^2 / (n - tr H - 1)^2

    Classes (y of class numbers)::

        min  sum_i -log p_(i, y_i) + 1/2 sum W^2        p_i = softmax(x_i W + b)

    Parameters
    ----------
    x : ndarray (n, n_in)
        Training rows.
    y : ndarray (n,)
        Floats, or class numbers 0 to k - 1.
    k : int, default 0
        Classes; 0 for numbers.

    Attributes
    ----------
    W : ndarray (n_in, 1) or (n_in, k)
    b : ndarray (1,) or (k,)

    References
    ----------
    .. [1] Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good ridge
       parameter" (1979), Technometrics 21(2).

    Examples
    --------
    >>> import numpy as np
    >>> from densenet.tabular import LinearBaseline
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> LinearBaseline(x, 3 * x[:, 0] + 1).predict([[2.0]]).round(3)
    array([[7.]])
    """

    def __init__(self, x: Array, y: Array, k: int = 0) -> None:
        x = np.asarray(x, np.float64)
        self.k = k
        if k:
            self._fit_classes(x, np.asarray(y, np.intp), k)
        else:
            self._fit_numbers(x, np.asarray(y, np.float64))

    def _fit_numbers(self, x: Array, y: Array) -> None:
        n, center, mean = len(x), x.mean(axis=0), y.mean()
        u, s, vt = np.linalg.svd(x - center, full_matrices=False)
        target = u.T @ (y - mean)
        beyond = float(((y - mean) ** 2).sum() - (target**2).sum())  # what no w reaches
        best = np.inf, 1.0
        for ridge in np.logspace(-6, 6, 25) * max(float((s**2).mean()), 1e-300):
            h = s**2 / (s**2 + ridge)
            error = beyond + float((((1 - h) * target) ** 2).sum())
            best = min(best, (error / max(n - h.sum() - 1, 1e-9) ** 2, ridge))
        self.W = (vt.T @ (s / (s**2 + best[1]) * target))[:, None]
        self.b = np.array([mean - center @ self.W[:, 0]])

    def _fit_classes(self, x: Array, y: Array, k: int) -> None:
        from scipy.optimize import minimize

        n_in, truth = x.shape[1], np.eye(k)[y]

        def error(w: Array) -> tuple[float, Array]:
            W, b = w[: n_in * k].reshape(n_in, k), w[n_in * k :]
            z = x @ W + b
            z -= z.max(axis=1, keepdims=True)
            log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
            d = np.exp(log_p) - truth  # dE/dz
            return float(-(log_p * truth).sum() + 0.5 * (W**2).sum()), np.concatenate([(x.T @ d + W).ravel(), d.sum(0)])

        w = minimize(error, np.zeros((n_in + 1) * k), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
        self.W, self.b = w[: n_in * k].reshape(n_in, k), w[n_in * k :]

    def predict(self, x: Array) -> Array:
        """Estimates (n, 1), or probabilities (n, k)."""
        z: Array = np.asarray(x, np.float64) @ self.W + self.b
        if self.k:
            z = np.exp(z - z.max(axis=1, keepdims=True))
            z /= z.sum(axis=1, keepdims=True)
        return z


def with_interval(each: Array, coverage: float = 0.9, seed: int = 0) -> tuple[float, float, float]:
    """The mean of a figure over rows and its percentile bootstrap interval, from 1000 resamples.

    Parameters
    ----------
    each : ndarray (n,)
        What every row contributes: 1 where right and 0 where wrong, a loss, or the difference of two.

    Returns
    -------
    mean, low, high : float

    References
    ----------
    .. [1] Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    rng = np.random.default_rng(seed)
    means = [each[rng.integers(0, len(each), len(each))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(each.mean()), float(low), float(high)

"""Error bars: how well the data determine each weight, and the predictions with it.

With other noise in the data, a least-squares fit would have given other weights. How much they vary follows from the
curvature at the minimum: if the error hardly rises along a direction, the data determine it badly. The Jacobian
carries the variance over to predictions.
"""

from __future__ import annotations

import html
import math
from typing import Any, Literal

import numpy as np
from scipy import linalg

from densenet import losses
from densenet._display import html_table, text_table
from densenet._types import Array
from densenet._validation import as_matrix, as_weights, check_finite, nonnegative, same_rows
from densenet.losses.base import Loss
from densenet.second_order.jacobian import jacobian
from densenet.second_order.least_squares import EPS, MeanSquares
from densenet.sequential import Sequential


def uncertainty(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    ridge: float = 0.0,
    max_memory: float = 1e9,
) -> Uncertainty:
    """Error bars of a model that has been fitted to data by least squares.

    With e the errors, N of them, J their Jacobian by the p free parameters and W the sample weights, the parameters'
    covariance is::

        C = s^2 (J^T W J + ridge 1)^-1        s^2 = e^T W e / (N - gamma)

    where gamma, the effective number of parameters, is p without a ridge. It holds near a minimum of the squared
    error, for independent noise of one variance (of variance s^2 / w where there are weights), the same for all
    outputs, and for a model that is about linear in its parameters within their uncertainty.

    Parameters
    ----------
    model : Sequential
        Fitted; `LevenbergMarquardt` goes to the bottom.
    loss : MeanSquaredError, HalfSquaredError, or their names
    x, y, sample_weight
        The data that it was fitted to.
    ridge : float, default 0.0
        For a fit by `BayesianRegularization` the last ``alpha / beta`` of its History: the Laplace approximation of the
        posterior. Networks with parameters that the data leave open need one.
    max_memory : float, default 1e9
        Bytes that the Jacobian and the work on it may take.

    Returns
    -------
    Uncertainty

    Raises
    ------
    ValueError
        If the loss is no squared error, there are no more data than parameters, the data leave a parameter open and
        there is no ridge, or the model draws noise or couples samples.

    References
    ----------
    .. [1] Seber and Wild, "Nonlinear Regression" (1989), sections 2.1.2 and 5.1.
    .. [2] MacKay, "A practical Bayesian framework for backpropagation networks" (1992), for the ridge.

    Examples
    --------
    >>> import densenet as dn
    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = dn.Sequential([dn.Dense(1, 1)], dtype="float64", seed=0)
    >>> y = [1.1, 2.9, 5.2, 6.8]
    >>> _ = dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=20)
    >>> bars = dn.uncertainty(model, "mse", x, y)
    >>> print(bars)
    parameter  estimate  standard error      t         p  95 % interval
    0.W[0, 0]      1.94         0.09055  21.42  0.002172  [1.55, 2.33]
    0.b[0]         1.09          0.1694  6.434   0.02331  [0.3611, 1.819]
    residual standard deviation 0.2025 with 2 degrees of freedom
    >>> low, high = bars.interval([[1.5]])
    >>> low.round(3), high.round(3)
    (array([[3.026]]), array([[4.974]]))
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"uncertainty expects a Sequential as its model, got {model!r}.")
    ridge = nonnegative(ridge, "uncertainty", "ridge")
    loss, double = losses.get(loss), np.dtype(np.float64)
    x = as_matrix(x, model.n_in, double, "uncertainty")
    check_finite(x, "uncertainty", "x")
    y = loss.prepare(y, model.output_width(x.shape[1]), double)
    same_rows(x, y, "uncertainty")
    weight = as_weights(sample_weight, len(x), double, "uncertainty")
    at = MeanSquares(model, loss, x, y, weight, max_memory, "uncertainty")
    bowl = at.bowl(r := at.residuals(at.w))
    total = y.shape[1] * (len(x) if weight is None else float(weight.sum()))  # |r|^2 is E_D / total
    N, p = y.size if weight is None else y.shape[1] * int(np.count_nonzero(weight)), at.w.size
    if bowl.J is not None:
        scale = np.sqrt(np.where(bowl.squares > 0, bowl.squares, 1.0))
        _, singular, vectors = linalg.svd(bowl.J / (1.0 if ridge else scale), full_matrices=len(r) < p)
        values = np.zeros(p)
        values[: len(singular)] = singular**2
    else:
        scale = np.ones(p)
        values, vectors = linalg.eigh(bowl.A)
        values, vectors = np.maximum(values[::-1], 0.0), vectors.T[::-1]
    values *= total if ridge else 1.0
    if ridge:
        gamma = float(np.sum(values / (values + ridge)))
        inverse = (vectors.T / (values + ridge)) @ vectors
    else:
        rank = int(
            np.count_nonzero(values > values.max(initial=0.0) * (max(N, p) * EPS) ** (2 if bowl.J is not None else 1))
        )
        if rank < p:
            raise ValueError(
                f"uncertainty: the data determine {rank} of {p} parameters, so that the others have no error bars: "
                "fit with BayesianRegularization and pass ridge=alpha / beta, or take a smaller model."
            )
        gamma = float(p)
        inverse = (vectors.T / values) @ vectors / np.outer(scale, scale) / total
    if N - gamma <= 0:
        raise ValueError(f"uncertainty expects more data than parameters, got {N} numbers for {p}.")
    variance = total * float(r @ r) / (N - gamma)
    return Uncertainty(model, at.free, variance * inverse, math.sqrt(variance), N - gamma, gamma)


class Uncertainty:
    """Result of `uncertainty`.

    Attributes
    ----------
    covariance : ndarray (p, p)
        Of the free parameters.
    standard_errors : ndarray (p,)
        Square roots of its diagonal.
    names : list of str
        Of the free parameters: number of the layer among all, name, index.
    noise : float
        s, the residual standard deviation, in units of y.
    degrees_of_freedom : float
        N - gamma.
    gamma : float
        Effective number of parameters.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 6.0]
    >>> model = dn.Sequential([dn.Dense(1, 1, use_bias=False)], dtype="float64", seed=0)
    >>> _ = dn.Trainer(model, "mse", dn.LevenbergMarquardt()).fit(x, y, epochs=20)
    >>> bars = dn.uncertainty(model, "mse", x, y)
    >>> bars.std([[0.0], [10.0]], kind="confidence").round(3)
    array([[0.   ],
           [4.243]])
    """

    def __init__(
        self, model: Sequential, free: Any, covariance: Array, noise: float, degrees_of_freedom: float, gamma: float
    ) -> None:
        self._model = model.astype(np.float64)
        self._free = free
        self.covariance = covariance
        self.standard_errors: Array = np.sqrt(covariance.diagonal())
        self.noise, self.degrees_of_freedom, self.gamma = noise, degrees_of_freedom, gamma
        every = [
            f"{i}.{name}[{', '.join(map(str, at))}]"
            for i, layer in enumerate(model.every_layer)
            for name, shape in layer.parameter_shapes().items()
            for at in np.ndindex(shape)
        ]
        self.names: list[str] = np.array(every)[free].tolist()

    @property
    def estimates(self) -> Array:
        """The free parameters themselves (p,)."""
        values: Array = self._model.params[self._free].copy()
        return values

    def predict(self, x: Any) -> Array:
        """The model's predictions (n, k)."""
        return self._model.predict(x)

    def std(self, x: Any, *, kind: Literal["confidence", "prediction"] = "prediction") -> Array:
        """Standard deviations of predictions, by the delta method.

        ::

            confidence: sqrt(J C J^T)        prediction: sqrt(J C J^T + s^2)        row by row

        Parameters
        ----------
        x : array_like (n, n_in)
        kind : {"prediction", "confidence"}, default "prediction"
            Of a new target, or of its mean.

        Returns
        -------
        ndarray (n, k)

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model, or `kind` is neither.
        """
        if kind not in ("confidence", "prediction"):
            raise ValueError(f'std expects kind to be "confidence" or "prediction", got {kind!r}.')
        x = as_matrix(x, self._model.n_in, np.float64, "std")
        rows = max(1, int(1e7) // self._model.params.size)
        parts = []
        for start in range(0, len(x), rows):
            J = jacobian(self._model, x[start : start + rows])[:, :, self._free]
            parts.append(np.einsum("skp,skp->sk", J @ self.covariance, J))
        variance = np.maximum(np.concatenate(parts), 0.0)
        if kind == "prediction":
            variance += self.noise**2
        deviation: Array = np.sqrt(variance)
        return deviation

    def interval(
        self, x: Any, *, level: float = 0.95, kind: Literal["confidence", "prediction"] = "prediction"
    ) -> tuple[Array, Array]:
        """Where a new target, or its mean, lies with a given probability: prediction -+ t std, by Student's t.

        Parameters
        ----------
        x : array_like (n, n_in)
        level : float in (0, 1), default 0.95
        kind : {"prediction", "confidence"}, default "prediction"

        Returns
        -------
        low, high : ndarray (n, k)

        Raises
        ------
        ValueError, TypeError
            If x does not fit the model, or an argument is out of range.
        """
        reach = self._t(level, "interval") * self.std(x, kind=kind)
        middle = self.predict(x)
        return middle - reach, middle + reach

    def _t(self, level: Any, who: str) -> float:
        if isinstance(level, bool) or not isinstance(level, (int, float)) or not 0 < level < 1:
            raise ValueError(f"{who} expects level in (0, 1), got {level!r}.")
        from scipy import special

        return float(special.stdtrit(self.degrees_of_freedom, 0.5 + level / 2))

    _HEAD = ("parameter", "estimate", "standard error", "t", "p", "95 % interval")
    _ALIGN = "<>>>><"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        from scipy import special

        reach = self._t(0.95, "table")
        for name, w, error in zip(self.names, self.estimates, self.standard_errors, strict=True):
            t = w / error if error else math.inf
            p = 2 * special.stdtr(self.degrees_of_freedom, -abs(t))
            numbers = [f"{value:.4g}" for value in (w, error, t, p)]
            rows.append((name, *numbers, f"[{w - reach * error:.4g}, {w + reach * error:.4g}]"))
        return rows

    def _total(self) -> str:
        degrees = f"{self.degrees_of_freedom:.4g} degrees of freedom"
        return f"residual standard deviation {self.noise:.4g} with {degrees}"

    def __str__(self) -> str:
        return f"{text_table([self._HEAD, *self._rows()], self._ALIGN)}\n{self._total()}"

    def _repr_html_(self) -> str:
        return f"{html_table(self._HEAD, self._rows(), self._ALIGN)}<p>{html.escape(self._total())}</p>"

    def __repr__(self) -> str:
        return f"<Uncertainty of {len(self.names)} parameters: {self._total()}>"

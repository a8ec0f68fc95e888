"""How much a mini-batch knows of the gradient: the noise of single samples beside what they have in common.

The gradient of B samples is their mean. Where B is well above the noise scale, it points where the gradient of all
samples points, and more samples are wasted. Where B is well below, its direction is chance, and twice the samples make
a step twice as good. Per-sample gradients and curvature are exact in this package, so that the noise scale needs no
runs of many batch sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from densenet import losses
from densenet._blas import one_pool
from densenet._types import Array
from densenet._validation import as_generator, as_matrix, check_finite, is_number, positive_int, same_rows
from densenet.batch_size.intervals import Deviations, ratio_interval
from densenet.layers.containers import chain_norms, chain_samples
from densenet.losses.base import Loss
from densenet.second_order.hessian import Curvature
from densenet.sequential import Sequential

EXACT_ROWS = 512
"""Up to so many rows tr(H Sigma) is summed over all of them, and not drawn."""
_BLOCK = 4096  # rows that pass through the network at once
_CHUNK = 1 << 25  # bytes of per-sample gradients at once
_SPREAD_ROWS = 256  # of more than EXACT_ROWS rows: those that the width of intervals is estimated from
_SPREAD_PROBES = 16
_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class GradientNoise:
    """What `noise_scale` found. Noise scales and their intervals are numbers of samples.

    Attributes
    ----------
    b_simple : float
        tr(Sigma) / |G|^2; inf where the gradient cannot be told from 0.
    b_simple_interval : (float, float)
        Where it lies at that `level`; the upper end is inf where the rows only say "above".
    b_noise : float
        tr(H Sigma) / (G^T H G); nan where G^T H G is not positive.
    b_noise_interval : (float, float)
    rows : int
    population : bool
        Whether the figures estimate the population that the rows are drawn from, or describe the rows themselves.
    level : float
    curvature : str
        "hessian" or "gauss_newton".
    trace, square : float
        tr(Sigma) and |G|^2, the numerator and the denominator of `b_simple`.
    curved_trace, curved_square : float
        tr(H Sigma) and G^T H G, the numerator and the denominator of `b_noise`.
    curved_trace_error : float
        Standard error of `curved_trace` by the probes; 0 where no probe was needed.
    remarks : tuple of str
        What a figure that is missing, infinite or odd means.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> found = dn.noise_scale(dn.mlp([64, 16, 10], seed=0), "softmax_cross_entropy", x[:300], y[:300])
    >>> found.b_simple_interval[0] < found.b_simple < found.b_simple_interval[1]
    True
    """

    b_simple: float
    b_simple_interval: tuple[float, float]
    b_noise: float
    b_noise_interval: tuple[float, float]
    rows: int
    population: bool
    level: float
    curvature: str
    trace: float
    square: float
    curved_trace: float
    curved_square: float
    curved_trace_error: float
    remarks: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        of = f"the population of {self.rows} rows" if self.population else f"{self.rows} rows"
        lines = [f"noise scale for {of}, in samples ({100 * self.level:g} % intervals)"]
        for name, value, interval in (
            ("b_simple", self.b_simple, self.b_simple_interval),
            ("b_noise", self.b_noise, self.b_noise_interval),
        ):
            lines.append(f"{name:<9}{said(value, interval)}")
        return "\n".join([*lines, *self.remarks])


def said(value: float, interval: tuple[float, float]) -> str:
    """A noise scale with its interval in words."""
    low, high = interval
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return f"above {low:.3g}"
    if low == high:
        return f"{value:.4g}"
    return f"{value:.3g} (above {low:.3g})" if math.isinf(high) else f"{value:.3g} ({low:.3g} to {high:.3g})"


def noise_scale(
    model: Sequential,
    loss: Loss | str,
    x: Any,
    y: Any,
    *,
    population: bool = True,
    curvature: Literal["hessian", "gauss_newton"] = "hessian",
    probes: int = 64,
    level: float = 0.95,
    seed: Any = 0,
) -> GradientNoise:
    """The gradient noise scale: up to about which batch size more samples a step save steps.

    With g_i = dl_i/dw the gradient of sample i, G and Sigma their mean and covariance, and H the Hessian of the mean
    loss::

        B_simple = tr(Sigma) / |G|^2        B_noise = tr(H Sigma) / (G^T H G)

    A step along the mean g of B samples, at its best rate, lowers the error by 1 / (1 + B_noise / B) of what a step
    along G would, to second order [1]_. B_simple is the same for H = 1.

    For the rows themselves (``population=False``) every row weighs 1/n::

        G = 1/n sum_i g_i        tr(M Sigma) = 1/n sum_i (g_i - G)^T M (g_i - G)        M = 1 or H

    For the population that they are drawn from, Sigma has n - 1 in the place of n. A mean of n samples is longer than
    the population's, by tr(Sigma) / n in its square, which is taken off again::

        tr(M Sigma) = 1/(n-1) sum_i (g_i - G)^T M (g_i - G)
        G^T M G     <- G^T M G - tr(M Sigma) / n

    H is the Hessian over the rows in both cases.

    Parameters
    ----------
    model : Sequential
        Taken as it predicts: a layer that draws noise passes its input on, and its own noise does not count. It is not
        changed.
    loss : Loss or str
        Its mean over samples is the error; penalties of layers are left out, as they have no noise.
    x : array_like (n, n_in)
    y : array_like
        Targets as the loss takes them. Every row weighs the same: sample weights are not supported.
    population : bool, default True
        Whether the figures are for what the rows are drawn from, or for the rows themselves.
    curvature : {"hessian", "gauss_newton"}, default "hessian"
        "gauss_newton" takes J^T H_l J in place of H, which is never negative where the loss is convex.
    probes : int, default 64
        Above 512 rows tr(H Sigma) is the mean of v^T H v over so many random v = sum_i eps_i (g_i - G) / sqrt(n) with
        eps_i = -1 or 1. Up to 512 rows it is exact: one Hessian product a row.
    level : float in (0, 1), default 0.95
        Of the intervals.
    seed : int or Generator, default 0
        Sets the probes.

    Returns
    -------
    GradientNoise
        All of it computed in float64.

    Raises
    ------
    ValueError
        If x or y does not fit, there is one row only for a population, or a layer takes statistics over the batch.
    TypeError
        If a layer or loss of your own lacks a method that Hessian products need.

    Notes
    -----
    Exact for every layer of the package that does not couple samples: `Dense`, all activations (`PReLU` and `Softmax`
    included), `LayerNorm`, `RMSNorm`, `Scale`, `Residual`, `Concatenate`, `Embedding`, `Periodic`, `Columns`,
    `Average`, `Mixture`, `Blend`, `RobustScale`, `Clip`; `Dropout`, `AlphaDropout` and `GaussianNoise` as they predict.
    Frozen parameters are left out of G, Sigma and H. In float64 a piecewise linear function has the curvature 0
    wherever it is differentiable.

    An interval is the set of B for which tr(M Sigma) - B G^T M G does not differ from 0 (Fieller's method) [2]_. How
    far it may differ is seen by drawing the rows again with replacement, for each such B with a G that is as long as
    this B says (the grid bootstrap) [3]_; above 512 rows, by drawing n of 256. The interval has no upper end where G
    cannot be told from 0, and then only says "above". For the rows themselves there is nothing to be uncertain of,
    except for the probes.

    In simulation (200 samples of a linear model each) 95 % intervals held B_simple in 94 % where it was 0.1 of 150
    rows, in 96 % at 0.3 of 60 rows, 98 % at 0.5 of 30, 94 % at 0.7 of 150, and 98 % at 2.6 of 40. Where the scale is
    near the number of rows or above, intervals of B_noise are too wide (99 % and more): more rows help.

    References
    ----------
    .. [1] McCandlish, Kaplan, Amodei and OpenAI Dota Team, "An empirical model of large-batch training" (2018),
       arXiv 1812.06162, equations 2.8 and 2.9.
    .. [2] Fieller, "Some problems in interval estimation" (1954), section 3.
    .. [3] Hansen, "The grid bootstrap and the autoregressive model" (1999).

    Examples
    --------
    Two samples of one weight with gradients 2 and 8: G = 5, Sigma = 9; H is 5.

    >>> import densenet as dn
    >>> model = dn.Sequential([dn.Dense(1, 1, kernel_initializer="ones", use_bias=False)], dtype="float64")
    >>> found = dn.noise_scale(model, "mse", [[1.0], [2.0]], [0.0, 0.0], population=False)
    >>> found.trace, found.square, found.b_simple, found.b_noise
    (9.0, 25.0, 0.36, 0.36)
    """
    who = "noise_scale"
    rows = Rows(model, loss, x, y, who)
    if curvature not in ("hessian", "gauss_newton"):
        raise ValueError(f'{who} expects curvature to be "hessian" or "gauss_newton", got {curvature!r}.')
    probes = positive_int(probes, who, "probes")
    if probes < 2:
        raise ValueError(f"{who} expects at least 2 probes to see their spread, got {probes}.")
    if not is_number(level) or not 0 < level < 1:
        raise ValueError(f"{who} expects level in (0, 1), got {level!r}.")
    n, population, rng = rows.n, bool(population), as_generator(seed, who)
    if n < 2 and population:
        raise ValueError(
            f"{who} expects at least 2 rows to see how samples differ, got {n}: pass more rows, or "
            "population=False for the figures of this row alone."
        )
    gauss_newton = curvature == "gauss_newton"
    flat, curved, error, G, pairs = measure(rows, population, gauss_newton, probes, rng, exact=n <= EXACT_ROWS)
    b_simple, b_noise = flat.ratio(True), curved.ratio(gauss_newton)
    if population and n > 3:
        part = rows if n <= EXACT_ROWS else rows.some(_SPREAD_ROWS, rng)
        own = G if part is rows else part.gradient_and_norms()[0]
        one, other = part.deviations(own, gauss_newton, rng, pairs)
        simple_interval = ratio_interval(one, flat.trace, flat.square, n, level, rng)
        noise_interval = ratio_interval(other, curved.trace, curved.square, n, level, rng, error)
    elif population:
        simple_interval, noise_interval = (0.0, math.inf), (0.0, math.inf)
    else:
        simple_interval = (b_simple, b_simple)
        from scipy import special

        reach = float(special.ndtri(0.5 + level / 2)) * error / curved.square if curved.square > 0 else math.nan
        noise_interval = (b_noise - reach, b_noise + reach)
    if math.isnan(b_simple):
        simple_interval = (math.nan, math.nan)
    if math.isnan(b_noise):
        noise_interval = (math.nan, math.nan)
    return GradientNoise(
        b_simple, simple_interval, b_noise, noise_interval, n, population, float(level), curvature,
        flat.trace, flat.square, curved.trace, curved.square, error,
        tuple(_remarks(b_simple, b_noise, simple_interval, curved, n)),
    )  # fmt: skip


def measure(
    rows: Rows, population: bool, gauss_newton: bool, probes: int, rng: np.random.Generator, *, exact: bool
) -> tuple[Moments, Moments, float, Array, Pairs | None]:
    """tr(M Sigma) and G^T M G for M = 1 and M = H, the probes' standard error, G, and all pairs where it is exact."""
    n = rows.n
    G, norms = rows.gradient_and_norms()
    flat = Moments(n, float(norms.sum() / n), float(G @ G), population)
    GHG = float(G @ rows.product(G, gauss_newton))
    if exact:
        pairs = rows.pairs(G, gauss_newton)
        curved = Moments(n, float(pairs.curved.diagonal().sum() / n), GHG, population, centred=True)
        return flat, curved, 0.0, G, pairs
    drawn = np.array([v @ rows.product(v, gauss_newton) for v in rows.probes(G, probes, rng)])
    curved = Moments(n, float(drawn.mean()), GHG, population, centred=True)
    error = float(drawn.std(ddof=1) / math.sqrt(probes)) if probes > 1 else math.nan
    return flat, curved, error * (n / (n - 1) if population else 1.0), G, None


class Moments:
    """tr(M Sigma) and G^T M G from their plain sums over n rows.

    Parameters
    ----------
    n : int
    second : float
        1/n sum of g^T M g; `centred`: of (g - G)^T M (g - G).
    square : float
        G^T M G.
    population : bool
        Whether they estimate the population.
    """

    def __init__(self, n: int, second: float, square: float, population: bool, *, centred: bool = False) -> None:
        trace = second if centred else max(second - square, 0.0)  # 1/n sum |g - G|^2 = 1/n sum |g|^2 - |G|^2
        if abs(square) <= _ROUNDING**2 * (abs(second) + abs(square)):
            square = 0.0
        if population:
            trace *= n / (n - 1)
            square -= trace / n
        self.trace, self.square = trace, square

    def ratio(self, never_negative: bool) -> float:
        """The noise scale; inf where a square that is never negative is estimated as no more than 0."""
        if self.square > 0:
            return self.trace / self.square
        return math.inf if never_negative and self.trace > 0 else math.nan


class Pairs(NamedTuple):
    """(g_i - G)^T M (g_j - G) of all pairs of rows, for M = 1 and M = H."""

    flat: Array
    curved: Array


class Rows:
    """The gradients of rows of data, one by one, and the curvature of their mean loss; all in float64.

    Parameters
    ----------
    model, loss, x, y
        As in `noise_scale`.
    who : str
        The function that errors name.
    """

    def __init__(self, model: Sequential, loss: Loss | str, x: Any, y: Any, who: str) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"{who} expects a Sequential as its model, got {model!r}.")
        for layer in model.every_layer:
            if layer.couples_samples:
                raise ValueError(
                    f"{who} needs samples that do not depend on one another, but {layer!r} takes its statistics over "
                    "the batch, so that no sample has a gradient of its own: put LayerNorm or RMSNorm in its place, "
                    "or leave it out."
                )
        double = np.dtype(np.float64)
        self.model, self.loss, self.who = model.astype(double), losses.get(loss), who
        self.x = as_matrix(x, model.n_in, double, who)
        check_finite(self.x, who, "x")
        self.y = self.loss.prepare(y, model.output_width(self.x.shape[1]), double)
        same_rows(self.x, self.y, who)
        rate = model.marks.rate
        self._free: Array | None = None if rate is None or rate.all() else (rate != 0).astype(double)
        self._only: Curvature | None = None

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.x)

    def some(self, count: int, rng: np.random.Generator) -> Rows:
        """So many of them, drawn without replacement."""
        at = rng.permutation(self.n)[:count]
        return Rows(self.model, self.loss, self.x[at], self.y[at], self.who)

    def _blocks(self, model: Sequential | None = None) -> Iterator[tuple[slice, Curvature]]:
        """Rows after a forward pass of their own, a block at a time; a single block is kept."""
        for start in range(0, self.n, _BLOCK):
            at = slice(start, start + _BLOCK)
            if model is not None:
                yield at, Curvature(model, self.loss, self.x[at], self.y[at], None, self.who)
            elif self.n > _BLOCK:
                yield at, Curvature(self.model, self.loss, self.x[at], self.y[at], None, self.who)
            else:
                if self._only is None:
                    self._only = Curvature(self.model, self.loss, self.x, self.y, None, self.who)
                yield at, self._only

    def _kept(self, gradients: Array) -> Array:
        """Gradients without the frozen parameters' part."""
        if self._free is not None:
            gradients *= self._free
        return gradients

    def gradient_and_norms(self) -> tuple[Array, Array]:
        """G (parameters,) and |g_i|^2 (n,)."""
        G, norms = np.zeros(self.model.params.size), np.zeros(self.n)
        for at, block in self._blocks():
            with one_pool():
                block.model.run_backward(block.delta.copy())
                G += block.model.grads * (len(block.x) / self.n)  # G = 1/n sum_i g_i
                if self._free is None:
                    chain_norms(block.model.layers, block.delta * len(block.x), norms[at])
        if self._free is not None:
            for at, g in self.gradients():
                norms[at] = np.einsum("sp,sp->s", g, g)
        return self._kept(G), norms

    def gradients(self) -> Iterator[tuple[slice, Array]]:
        """g_i (rows, parameters), a chunk of rows at a time."""
        rows = max(1, _CHUNK // (8 * max(1, self.model.params.size)))
        for start in range(0, self.n, rows):
            at = slice(start, min(start + rows, self.n))
            chunk = Curvature(self.model, self.loss, self.x[at], self.y[at], None, self.who)
            g = np.empty((len(chunk.x), self.model.params.size))
            with one_pool():
                chain_samples(chunk.model.layers, chunk.delta * len(chunk.x), g)
            yield at, self._kept(g)

    def along(self, v: Array, model: Sequential | None = None) -> Array:
        """g_i^T v (n,), at the weights of another model where one is given."""
        out = np.empty(self.n)
        for at, block in self._blocks(model):
            out[at] = len(block.x) * np.einsum("sk,sk->s", block.delta, block.along(v))  # dl/dy^T J v
        return out

    def product(self, v: Array, gauss_newton: bool) -> Array:
        """H v of the mean loss, or the Gauss-Newton matrix times v."""
        out = np.zeros_like(v)
        for _, block in self._blocks():
            product = block.gauss_newton(v) if gauss_newton else block.hessian(v)
            out += product * (len(block.x) / self.n)
        return self._kept(out)

    def curvatures(self, v: Array, gauss_newton: bool) -> Array:
        """v^T H_i v (n,) of every sample's own loss; the Hessian's by a difference of g_i^T v along v."""
        if gauss_newton:
            out = np.empty(self.n)
            for at, block in self._blocks():
                y_dot = block.along(v)
                out[at] = np.einsum("sk,sk->s", y_dot, block.slopes_along(y_dot))
            return out
        length = math.sqrt(float(v @ v))
        if not length:
            return np.zeros(self.n)
        h = 1e-4 * (1 + math.sqrt(float(self.model.params @ self.model.params))) / length
        ends = []
        for sign in (1, -1):
            moved = self.model.astype(np.float64)
            moved.params += sign * h * v
            ends.append(self.along(v, moved))
        return (ends[0] - ends[1]) / (2 * h)

    def probes(self, G: Array, count: int, rng: np.random.Generator) -> Array:
        """v = sum_i eps_i (g_i - G) / sqrt(n) with random signs, one a row: E[v^T H v] = 1/n sum (g-G)^T H (g-G)."""
        signs = rng.choice([-1.0, 1.0], size=(count, self.n))
        out = np.zeros((count, G.size))
        for m, eps in enumerate(signs):
            for at, block in self._blocks():
                with one_pool():
                    block.model.run_backward(block.delta * (eps[at, None] * len(block.x)))  # sum_i eps_i g_i
                out[m] += block.model.grads
            out[m] -= eps.sum() * G
        return self._kept(out) / math.sqrt(self.n)

    def pairs(self, G: Array, gauss_newton: bool) -> Pairs:
        """All products of two rows' deviations: a Hessian product a row."""
        flat, curved = np.empty((2, self.n, self.n))
        for at, g in self.gradients():
            for i, c in enumerate(g - G, start=at.start):
                flat[i] = self.along(c) - c @ G
                Hc = self.product(c, gauss_newton)
                curved[i] = self.along(Hc) - Hc @ G
        return Pairs(flat, (curved + curved.T) / 2)

    def deviations(
        self, G: Array, gauss_newton: bool, rng: np.random.Generator, pairs: Pairs | None = None
    ) -> tuple[Deviations, Deviations]:
        """How the rows differ, for M = 1 and for M = H; the Hessian is an average over the rows, too."""
        if pairs is None:
            pairs = self.pairs(G, gauss_newton)
        GG, HG = float(G @ G), self.product(G, gauss_newton)
        GHG, none = float(HG @ G), np.zeros(self.n)
        flat = Deviations(pairs.flat, self.along(G) - GG, GG, none, none)
        drawn = [self.curvatures(v, gauss_newton) for v in self.probes(G, _SPREAD_PROBES, rng)]
        trace_too = np.mean(drawn, axis=0)
        trace_too -= trace_too.mean()
        square_too = self.curvatures(G, gauss_newton)
        square_too -= square_too.mean() + trace_too / self.n
        return flat, Deviations(pairs.curved, self.along(HG) - GHG, GHG, trace_too, square_too)


def _remarks(b_simple: float, b_noise: float, interval: tuple[float, float], curved: Moments, n: int) -> Iterator[str]:
    if math.isnan(b_simple):
        yield "b_simple is nan: every sample's gradient is 0, the model is where no batch moves it."
    elif math.isinf(b_simple):
        yield f"b_simple is inf: the gradient of {n} rows cannot be told from 0, as at a minimum."
    elif math.isinf(interval[1]):
        yield f"{n} rows set b_simple no upper limit: more rows do."
    if math.isnan(b_noise) and not math.isnan(b_simple):
        yield (
            f"b_noise is nan: G^T H G is {curved.square:.3g}, not positive, so that no step along the gradient is "
            'best; curvature="gauss_newton" leaves negative curvature out.'
        )
    elif b_noise < 0:
        yield "b_noise is negative: the noise lies where the curvature is negative."

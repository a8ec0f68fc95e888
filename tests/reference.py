"""Dense networks in plain loops, straight from the equations.

This is what the fast code is compared with. Nothing here is vectorised, nothing is clever and nothing is shared with
the package: sums are written as loops over samples, neurons and layers. Every function also takes complex numbers, so
that a derivative can be had without writing one out: Im f(x + ih) / h with h = 1e-30 is f'(x) to the last digits,
because nothing is subtracted (Squire and Trapp, SIAM Review 40, 1998). Comparisons look at the real part alone.

Rows are samples. Functions of a matrix take anything that numpy reads as one and return a fresh float64 or complex128
array; the loops themselves run on Python's numbers.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array: TypeAlias = NDArray[Any]
Scalar: TypeAlias = complex
Rows: TypeAlias = list[list[Scalar]]
Chain: TypeAlias = Sequence[tuple[str, dict[str, Any]]]

STEP = 1e-30


def as_rows(x: Any) -> Rows:
    """A matrix as a list of rows of Python numbers; a vector becomes one column."""
    rows: list[Any] = np.asarray(x).tolist()
    return [row if isinstance(row, list) else [row] for row in rows]


def as_list(x: Any) -> list[Scalar]:
    """A vector as a list of Python numbers."""
    values: list[Scalar] = np.asarray(x).tolist()
    return values


# -- functions of one number, real or complex --------------------------------------------------------------------


def exp(z: Scalar) -> Scalar:
    """e^z."""
    return cmath.exp(z) if isinstance(z, complex) else math.exp(z)


def log(z: Scalar) -> Scalar:
    """The natural logarithm."""
    return cmath.log(z) if isinstance(z, complex) else math.log(z)


def sqrt(z: Scalar) -> Scalar:
    """The square root."""
    return cmath.sqrt(z) if isinstance(z, complex) else math.sqrt(z)


def sin(z: Scalar) -> Scalar:
    """The sine."""
    return cmath.sin(z) if isinstance(z, complex) else math.sin(z)


def sinh(z: Scalar) -> Scalar:
    """The hyperbolic sine."""
    return cmath.sinh(z) if isinstance(z, complex) else math.sinh(z)


def tanh(z: Scalar) -> Scalar:
    """The hyperbolic tangent."""
    return cmath.tanh(z) if isinstance(z, complex) else math.tanh(z)


def erfc(z: Scalar) -> Scalar:
    """1 - erf(z), without the subtraction."""
    return complex(special.erfc(z)) if isinstance(z, complex) else math.erfc(z)


def expm1(z: Scalar) -> Scalar:
    """e^z - 1; for z = a + ib it is (e^a - 1) cos b - 2 sin^2(b/2) + i e^a sin b."""
    if not isinstance(z, complex):
        return math.expm1(z)
    a, b = z.real, z.imag
    return complex(math.expm1(a) * math.cos(b) - 2 * math.sin(b / 2) ** 2, math.exp(a) * math.sin(b))


def log1p(z: Scalar) -> Scalar:
    """log(1 + z); for z = a + ib it is log(1 + a (2 + a) + b^2) / 2 + i arg(1 + z)."""
    if not isinstance(z, complex):
        return math.log1p(z)
    a, b = z.real, z.imag
    return complex(0.5 * math.log1p(a * (2 + a) + b * b), math.atan2(b, 1 + a))


def absolute(z: Scalar) -> Scalar:
    """|z| as sign(Re z) z, so that the derivative is the sign; at 0 both are 0."""
    if z.real > 0:
        return z
    return -z if z.real < 0 else 0.0


# -- activations -------------------------------------------------------------------------------------------------


def identity(z: Scalar) -> Scalar:
    """f(z) = z."""
    return z


def relu(z: Scalar) -> Scalar:
    """f(z) = max(0, z), with f'(0) = 0."""
    return z if z.real > 0 else 0.0


def leaky_relu(z: Scalar, slope: Scalar = 0.01) -> Scalar:
    """f(z) = z for z > 0, else slope z."""
    return z if z.real > 0 else slope * z


def prelu(z: Scalar, a: Scalar = 0.25) -> Scalar:
    """f(z) = z for z > 0, else a z."""
    return z if z.real > 0 else a * z


def elu(z: Scalar, alpha: Scalar = 1.0) -> Scalar:
    """f(z) = z for z > 0, else alpha (e^z - 1)."""
    return z if z.real > 0 else alpha * expm1(z)


def selu(z: Scalar) -> Scalar:
    """f(z) = lambda ELU(z, alpha) with the two constants of Klambauer et al., 2017 (arXiv 1706.02515)."""
    return 1.0507009873554804934193349852946 * elu(z, 1.6732632423543772848170429916717)


def celu(z: Scalar, alpha: Scalar = 1.0) -> Scalar:
    """f(z) = z for z > 0, else alpha (e^(z / alpha) - 1)."""
    return z if z.real > 0 else alpha * expm1(z / alpha)


def gelu(z: Scalar) -> Scalar:
    """f(z) = z Phi(z), Phi(z) = (1 + erf(z / sqrt 2)) / 2 = erfc(-z / sqrt 2) / 2."""
    return 0.5 * z * erfc(-z / math.sqrt(2))


def sigmoid(z: Scalar) -> Scalar:
    """f(z) = 1 / (1 + e^-z) = e^z / (1 + e^z), whichever exponential is small."""
    if z.real >= 0:
        return 1 / (1 + exp(-z))
    e = exp(z)
    return e / (1 + e)


def silu(z: Scalar) -> Scalar:
    """f(z) = z sigmoid(z)."""
    return z * sigmoid(z)


def softplus(z: Scalar) -> Scalar:
    """f(z) = log(1 + e^z) = z + log(1 + e^-z), whichever exponential is small."""
    return z + log1p(exp(-z)) if z.real > 0 else log1p(exp(z))


def mish(z: Scalar) -> Scalar:
    """f(z) = z tanh(softplus(z))."""
    return z * tanh(softplus(z))


def softsign(z: Scalar) -> Scalar:
    """f(z) = z / (1 + |z|)."""
    return z / (1 + absolute(z))


def hard_tanh(z: Scalar) -> Scalar:
    """f(z) = min(max(z, -1), 1), with f'(-1) = f'(1) = 0."""
    if z.real <= -1:
        return -1.0
    return z if z.real < 1 else 1.0


def hard_sigmoid(z: Scalar) -> Scalar:
    """f(z) = min(max(z / 6 + 1/2, 0), 1), with f'(-3) = f'(3) = 0."""
    if z.real <= -3:
        return 0.0
    return z / 6 + 0.5 if z.real < 3 else 1.0


def hard_swish(z: Scalar) -> Scalar:
    """f(z) = z hard_sigmoid(z), with f'(-3) = 0 and f'(3) = 1."""
    return z * hard_sigmoid(z)


def gaussian(z: Scalar) -> Scalar:
    """f(z) = e^(-z^2)."""
    return exp(-z * z)


ACTIVATIONS: dict[str, Callable[..., Scalar]] = {
    "Identity": identity,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "PReLU": prelu,
    "ELU": elu,
    "SELU": selu,
    "CELU": celu,
    "GELU": gelu,
    "SiLU": silu,
    "Mish": mish,
    "Softplus": softplus,
    "Softsign": softsign,
    "Sigmoid": sigmoid,
    "Tanh": tanh,
    "HardTanh": hard_tanh,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Exp": exp,
    "Sine": sin,
    "Gaussian": gaussian,
}
"""f(z) of one number, by class name; LeakyReLU takes `slope`, PReLU `a`, ELU and CELU `alpha`."""


def log_softmax(row: Sequence[Scalar]) -> list[Scalar]:
    """y_j = z_j - log sum_k e^(z_k), the largest z taken out of the sum."""
    largest = max(z.real for z in row)
    total: Scalar = 0.0
    for z in row:
        total += exp(z - largest)
    return [z - largest - log(total) for z in row]


def softmax(row: Sequence[Scalar]) -> list[Scalar]:
    """y_j = e^(z_j) / sum_k e^(z_k), every exponent less the largest z."""
    largest = max(z.real for z in row)
    total: Scalar = 0.0
    for z in row:
        total += exp(z - largest)
    return [exp(z - largest) / total for z in row]


ROW_ACTIVATIONS: dict[str, Callable[[Sequence[Scalar]], list[Scalar]]] = {
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
}
"""y of one row, by class name."""


def slope(name: str, z: float, **options: Any) -> float:
    """f'(z) of an activation of `ACTIVATIONS`, by the complex step."""
    return ACTIVATIONS[name](complex(z, STEP), **options).imag / STEP


# -- layers ------------------------------------------------------------------------------------------------------


def dense(x: Any, W: Any, b: Any = None) -> Array:
    """z_sj = sum_i x_si W_ij + b_j; x (n, n_in), W (n_in, n_out), b (n_out,) or None."""
    x, W = as_rows(x), as_rows(W)
    n_out = len(W[0])
    b = [0.0] * n_out if b is None else as_list(b)
    z = []
    for row in x:
        z_row = []
        for j in range(n_out):
            total = b[j]
            for i in range(len(W)):
                total += row[i] * W[i][j]
            z_row.append(total)
        z.append(z_row)
    return np.array(z)


def activation(x: Any, name: str, **options: Any) -> Array:
    """The activation `name` of every entry, or of every row."""
    if name in ROW_ACTIVATIONS:
        return np.array([ROW_ACTIVATIONS[name](row) for row in as_rows(x)])
    return np.array([[ACTIVATIONS[name](z, **options) for z in row] for row in as_rows(x)])


def mean_and_variance(values: Sequence[Scalar]) -> tuple[Scalar, Scalar]:
    """m = 1/n sum v and 1/n sum (v - m)^2: the biased variance."""
    mean: Scalar = 0.0
    for v in values:
        mean += v / len(values)
    variance: Scalar = 0.0
    for v in values:
        variance += (v - mean) ** 2 / len(values)
    return mean, variance


def column_statistics(x: Any) -> tuple[list[Scalar], list[Scalar]]:
    """Mean and biased variance of every column."""
    x = as_rows(x)
    statistics = [mean_and_variance([row[j] for row in x]) for j in range(len(x[0]))]
    return [mean for mean, _ in statistics], [variance for _, variance in statistics]


def batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Array:
    """y_sj = gamma_j (x_sj - m_j) / sqrt(v_j + eps) + beta_j with the batch's own mean and biased variance."""
    mean, variance = column_statistics(x)
    return batch_norm_running(x, gamma, beta, mean, variance, eps)


def batch_norm_running(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, eps: float = 1e-5) -> Array:
    """y_sj = gamma_j (x_sj - mean_j) / sqrt(variance_j + eps) + beta_j with given statistics."""
    gamma, beta, mean, variance = as_list(gamma), as_list(beta), as_list(mean), as_list(variance)
    y = []
    for row in as_rows(x):
        y.append([gamma[j] * (row[j] - mean[j]) / sqrt(variance[j] + eps) + beta[j] for j in range(len(row))])
    return np.array(y)


def running_statistics(x: Any, mean: Any, variance: Any, momentum: float = 0.1) -> tuple[Array, Array]:
    """r <- (1 - momentum) r + momentum s for every column's mean and unbiased variance n/(n-1) v.

    One row has no unbiased variance and leaves the running variance alone.
    """
    n = len(as_rows(x))
    batch_mean, batch_variance = column_statistics(x)
    mean, variance = as_list(mean), as_list(variance)
    for j in range(len(mean)):
        mean[j] = (1 - momentum) * mean[j] + momentum * batch_mean[j]
        if n > 1:
            variance[j] = (1 - momentum) * variance[j] + momentum * batch_variance[j] * n / (n - 1)
    return np.array(mean), np.array(variance)


def layer_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Array:
    """y_sj = gamma_j (x_sj - m_s) / sqrt(v_s + eps) + beta_j with every row's own mean and biased variance."""
    gamma, beta = as_list(gamma), as_list(beta)
    y = []
    for row in as_rows(x):
        mean, variance = mean_and_variance(row)
        y.append([gamma[j] * (row[j] - mean) / sqrt(variance + eps) + beta[j] for j in range(len(row))])
    return np.array(y)


def rms_norm(x: Any, gamma: Any, eps: float | None = None) -> Array:
    """y_sj = gamma_j x_sj / sqrt(1/k sum_i x_si^2 + eps); eps is float64's machine epsilon unless given."""
    gamma = as_list(gamma)
    eps = float(np.finfo(np.float64).eps) if eps is None else eps
    y = []
    for row in as_rows(x):
        mean_square: Scalar = 0.0
        for v in row:
            mean_square += v * v / len(row)
        y.append([gamma[j] * row[j] / sqrt(mean_square + eps) for j in range(len(row))])
    return np.array(y)


def scale(x: Any, gamma: Any, beta: Any = None) -> Array:
    """y_sj = gamma_j x_sj + beta_j, beta 0 unless given."""
    gamma = as_list(gamma)
    beta = [0.0] * len(gamma) if beta is None else as_list(beta)
    return np.array([[gamma[j] * row[j] + beta[j] for j in range(len(row))] for row in as_rows(x)])


def residual(x: Any, f: Callable[[Any], Any]) -> Array:
    """y = x + f(x)."""
    x, branch = as_rows(x), as_rows(f(x))
    return np.array([[x[s][j] + branch[s][j] for j in range(len(x[s]))] for s in range(len(x))])


def concatenate(x: Any, branches: Sequence[Callable[[Any], Any]]) -> Array:
    """y_s = f_1(x)_s, f_2(x)_s, ... side by side."""
    outputs = [as_rows(f(x)) for f in branches]
    y = []
    for s in range(len(outputs[0])):
        row: list[Scalar] = []
        for output in outputs:
            row.extend(output[s])
        y.append(row)
    return np.array(y)


# -- losses ------------------------------------------------------------------------------------------------------
# Each function is the value l of one sample from its row of the prediction p and its row of the target t.


def _mean_over_outputs(each: Callable[..., Scalar]) -> Callable[..., Scalar]:
    def of_one_sample(p: list[Scalar], t: list[Scalar], **options: Any) -> Scalar:
        total: Scalar = 0.0
        for j in range(len(p)):
            total += each(p[j], t[j], **options) / len(p)
        return total

    return of_one_sample


def _squared_error(p: Scalar, t: Scalar) -> Scalar:
    return (p - t) ** 2


def _absolute_error(p: Scalar, t: Scalar) -> Scalar:
    return absolute(p - t)


def _huber(p: Scalar, t: Scalar, delta: float = 1.0) -> Scalar:
    d = absolute(p - t)
    return 0.5 * d * d if d.real <= delta else delta * (d - 0.5 * delta)


def _log_cosh(p: Scalar, t: Scalar) -> Scalar:
    d = p - t
    if abs(d.real) < 1:
        return 0.5 * log1p(sinh(d) ** 2)  # cosh^2 d = 1 + sinh^2 d
    d = absolute(d)
    return d + log1p(exp(-2 * d)) - math.log(2)  # cosh d = e^d (1 + e^(-2d)) / 2


def _poisson(p: Scalar, t: Scalar) -> Scalar:
    return exp(p) - t * p


def _signed(t: Scalar) -> Scalar:
    return -1.0 if t == 0 else t


def _hinge(p: Scalar, t: Scalar) -> Scalar:
    return relu(1 - _signed(t) * p)


def _squared_hinge(p: Scalar, t: Scalar) -> Scalar:
    return relu(1 - _signed(t) * p) ** 2


def _sigmoid_cross_entropy(p: Scalar, t: Scalar) -> Scalar:
    return t * softplus(-p) + (1 - t) * softplus(p)  # -t log sigmoid(p) - (1 - t) log(1 - sigmoid(p))


def _bounded_log(p: Scalar) -> Scalar:
    """log p, at least -100."""
    return log(p) if p.real > 0 and log(p).real > -100 else -100.0


def _binary_cross_entropy(p: Scalar, t: Scalar) -> Scalar:
    log_not_p = log1p(-p) if p.real < 0.5 else _bounded_log(1 - p)
    return -t * _bounded_log(p) - (1 - t) * log_not_p


def _half_squared_error(p: list[Scalar], t: list[Scalar]) -> Scalar:
    total: Scalar = 0.0
    for j in range(len(p)):
        total += 0.5 * (p[j] - t[j]) ** 2
    return total


def _quantile(p: list[Scalar], t: list[Scalar], q: float | Sequence[float] = 0.5) -> Scalar:
    k = len(p)
    total: Scalar = 0.0
    for j in range(k):
        q_j = q if isinstance(q, (int, float)) else q[j]
        d = (t[j] if len(t) > 1 else t[0]) - p[j]
        total += (relu(d) * q_j + relu(-d) * (1 - q_j)) / k
    return total


def _gaussian_nll(p: list[Scalar], t: list[Scalar]) -> Scalar:
    k = len(t)
    total: Scalar = 0.0
    for j in range(k):
        mean, log_variance = p[j], p[k + j]
        total += 0.5 * (log_variance + (t[j] - mean) ** 2 * exp(-log_variance)) / k
    return total


def _kl_divergence(p: list[Scalar], t: list[Scalar]) -> Scalar:
    total: Scalar = 0.0
    for j in range(len(p)):
        if t[j] != 0:  # 0 log 0 = 0
            total += t[j] * (log(t[j]) - p[j])
    return total


def _distribution(t: list[Scalar], k: int, label_smoothing: float = 0.0) -> list[Scalar]:
    """A row of k probabilities: the target itself, or 1 at the class it names; mixed with 1/k."""
    if len(t) != k or k == 1:
        t = [1.0 if j == t[0] else 0.0 for j in range(k)]
    return [(1 - label_smoothing) * t[j] + label_smoothing / k for j in range(k)]


def _softmax_cross_entropy(p: list[Scalar], t: list[Scalar], label_smoothing: float = 0.0) -> Scalar:
    t, log_p = _distribution(t, len(p), label_smoothing), log_softmax(p)
    total: Scalar = 0.0
    for j in range(len(p)):
        total -= t[j] * log_p[j]
    return total


def _categorical_cross_entropy(p: list[Scalar], t: list[Scalar], label_smoothing: float = 0.0) -> Scalar:
    t = _distribution(t, len(p), label_smoothing)
    total: Scalar = 0.0
    for j in range(len(p)):
        total -= t[j] * _bounded_log(p[j])
    return total


def _focal(p: list[Scalar], t: list[Scalar], gamma: float = 2.0) -> Scalar:
    t, log_p, probability = _distribution(t, len(p)), log_softmax(p), softmax(p)
    total: Scalar = 0.0
    for j in range(len(p)):
        others: Scalar = 0.0  # 1 - p_j, without the subtraction
        for i in range(len(p)):
            if i != j:
                others += probability[i]
        total -= t[j] * others**gamma * log_p[j]
    return total


SAMPLE_LOSSES: dict[str, Callable[..., Scalar]] = {
    "MeanSquaredError": _mean_over_outputs(_squared_error),
    "HalfSquaredError": _half_squared_error,
    "MeanAbsoluteError": _mean_over_outputs(_absolute_error),
    "Huber": _mean_over_outputs(_huber),
    "LogCosh": _mean_over_outputs(_log_cosh),
    "Quantile": _quantile,
    "PoissonNLL": _mean_over_outputs(_poisson),
    "GaussianNLL": _gaussian_nll,
    "KLDivergence": _kl_divergence,
    "Hinge": _mean_over_outputs(_hinge),
    "SquaredHinge": _mean_over_outputs(_squared_hinge),
    "SigmoidCrossEntropy": _mean_over_outputs(_sigmoid_cross_entropy),
    "SoftmaxCrossEntropy": _softmax_cross_entropy,
    "BinaryCrossEntropy": _mean_over_outputs(_binary_cross_entropy),
    "CategoricalCrossEntropy": _categorical_cross_entropy,
    "FocalLoss": _focal,
}
"""l of one sample, by class name: f(prediction row, target row, **options)."""


def _batch_error(of_one_sample: Callable[..., Scalar]) -> Callable[..., Scalar]:
    def error(prediction: Any, target: Any, sample_weight: Any = None, **options: Any) -> Scalar:
        prediction, target = as_rows(prediction), as_rows(target)
        weight = [1.0] * len(prediction) if sample_weight is None else as_list(sample_weight)
        weighted: Scalar = 0.0
        total: Scalar = 0.0
        for s in range(len(prediction)):
            weighted += weight[s] * of_one_sample(prediction[s], target[s], **options)
            total += weight[s]
        return weighted / total

    return error


LOSSES: dict[str, Callable[..., Scalar]] = {name: _batch_error(f) for name, f in SAMPLE_LOSSES.items()}
"""E = sum(w l) / sum(w), by class name: f(prediction, target, sample_weight=None, **options).

Options: `delta` of Huber, `q` of Quantile (one number, or one a column), `label_smoothing` of SoftmaxCrossEntropy and
CategoricalCrossEntropy, `gamma` of FocalLoss. Where a loss takes classes, targets are class numbers or rows of
probabilities. The logarithms of the two losses on probabilities are bounded below by -100, as in PyTorch's BCELoss.
"""


# -- the chain ---------------------------------------------------------------------------------------------------


def forward(layers: Chain, x: Any) -> Array:
    """The output of a chain given as (kind, parameters) pairs.

    Kinds are `Dense` (W, b), the activations with their options, `BatchNorm` (gamma, beta, eps; given mean and variance
    it uses these instead of the batch's), `LayerNorm`, `RMSNorm`, `Scale` with the arguments of their functions,
    `Residual` (layers) and `Concatenate` (branches, each a chain).

    Examples
    --------
    >>> forward([("Dense", {"W": [[2.0], [1.0]], "b": [-1.0]}), ("ReLU", {})], [[1.0, 1.0], [0.0, 0.5]]).tolist()
    [[2.0], [0.0]]
    """
    a = np.array(as_rows(x))
    for kind, parameters in layers:
        a = _layer(kind, parameters, a)
    return a


def _layer(kind: str, parameters: dict[str, Any], x: Array) -> Array:
    if kind == "Residual":
        return residual(x, partial(forward, parameters["layers"]))
    if kind == "Concatenate":
        return concatenate(x, [partial(forward, branch) for branch in parameters["branches"]])
    if kind == "BatchNorm":
        return batch_norm_running(x, **parameters) if "mean" in parameters else batch_norm(x, **parameters)
    functions: dict[str, Callable[..., Array]]
    functions = {"Dense": dense, "LayerNorm": layer_norm, "RMSNorm": rms_norm, "Scale": scale}
    return functions[kind](x, **parameters) if kind in functions else activation(x, kind, **parameters)


def network_error(layers: Chain, loss: str, x: Any, y: Any, sample_weight: Any = None, **loss_options: Any) -> Scalar:
    """E of a chain (see `forward`) under the loss of that name."""
    return LOSSES[loss](forward(layers, x), y, sample_weight, **loss_options)


def complex_step_gradient(f: Callable[[Array], Scalar], params: Any) -> Array:
    """dE/dp = Im f(p + ih) / h, one entry after the other; `f` takes an array of the shape of `params`.

    Examples
    --------
    >>> complex_step_gradient(lambda p: p[0] ** 2 * p[1], [3.0, 2.0]).tolist()
    [12.0, 9.0]
    """
    params = np.array(params, dtype=np.complex128)
    gradient = np.zeros(params.shape)
    for index in np.ndindex(params.shape):
        moved = params.copy()
        moved[index] += complex(0, STEP)
        gradient[index] = complex(f(moved)).imag / STEP
    return gradient


def central_difference(f: Callable[[Array], Scalar], params: Any, h: float = 1e-6) -> Array:
    """dE/dp = (f(p + h) - f(p - h)) / 2h, one entry after the other."""
    params = np.array(params, dtype=np.float64)
    gradient = np.zeros(params.shape)
    for index in np.ndindex(params.shape):
        above, below = params.copy(), params.copy()
        above[index] += h
        below[index] -= h
        gradient[index] = (f(above).real - f(below).real) / (above[index] - below[index])
    return gradient


def loss_delta(loss: str, prediction: Any, target: Any, sample_weight: Any = None, **options: Any) -> Array:
    """dE/dprediction of a loss, by the complex step."""
    return complex_step_gradient(lambda p: LOSSES[loss](p, target, sample_weight, **options), prediction)


def backprop_dense(
    layers: Chain, x: Any, output_delta: Callable[[Array], Any]
) -> tuple[Array, list[dict[str, Array]], Array]:
    """Forward and backward through `Dense` layers and elementwise activations, every sum a loop.

    Parameters
    ----------
    layers : sequence of (kind, parameters)
        As `forward` takes them: `Dense` and names of `ACTIVATIONS`.
    x : array_like (n, n_in)
    output_delta : callable
        From the output (n, n_out) to dE/doutput of the same shape, for example ``lambda p: loss_delta(loss, p, y)``.

    Returns
    -------
    output : ndarray (n, n_out)
    gradients : list of dict
        For every layer dE/d(parameter) by the parameter's name: W and b of Dense (b where it has one), a of PReLU
        (where it is given).
    dx : ndarray (n, n_in)
    """
    a: Any = np.array(as_rows(x))
    inputs = []
    for kind, parameters in layers:
        inputs.append(as_rows(a))
        a = dense(a, **parameters) if kind == "Dense" else activation(a, kind, **parameters)
    output: Array = a
    delta = as_rows(output_delta(output))
    gradients: list[dict[str, Array]] = []
    for (kind, parameters), a in zip(reversed(layers), reversed(inputs), strict=True):
        n = len(a)
        gradient: dict[str, Array] = {}
        if kind == "Dense":
            W = as_rows(parameters["W"])
            dW, db = np.zeros((len(W), len(W[0]))), np.zeros(len(W[0]))
            da: Rows = [[0.0] * len(W) for _ in range(n)]
            for s in range(n):
                for j in range(len(W[0])):
                    db[j] += delta[s][j]  # dE/db_j = sum_s delta_sj
                    for i in range(len(W)):
                        dW[i, j] += a[s][i] * delta[s][j]  # dE/dW_ij = sum_s a_si delta_sj
                        da[s][i] += delta[s][j] * W[i][j]  # dE/da_si = sum_j delta_sj W_ij
            gradient["W"] = dW
            if parameters.get("b") is not None:
                gradient["b"] = db
            delta = da
        else:
            if kind == "PReLU" and "a" in parameters:
                d_slope = 0.0
                for s in range(n):
                    for j in range(len(a[s])):
                        if a[s][j] <= 0:
                            d_slope += delta[s][j].real * a[s][j]  # dE/da = sum over z <= 0 of delta_sj z_sj
                gradient["a"] = np.array(d_slope)
            for s in range(n):
                for j in range(len(a[s])):
                    delta[s][j] *= slope(kind, a[s][j], **parameters)  # dE/dz_sj = dE/da_sj f'(z_sj)
        gradients.insert(0, gradient)
    return output, gradients, np.array(delta)


# -- an optimizer that PyTorch lacks -----------------------------------------------------------------------------


def lion_reference(
    params: Any,
    grads: Sequence[Any],
    learning_rate: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Array:
    """Lion, one weight at a time: a step for every entry of `grads`, from m = 0.

    For each weight p with gradient g::

        c = b1 m + (1 - b1) g
        p = p - learning_rate (sign(c) + weight_decay p)
        m = b2 m + (1 - b2) g

    Chen et al., "Symbolic discovery of optimization algorithms", 2023 (arXiv 2302.06675), algorithm 2.
    """
    p = [float(v) for v in np.asarray(params)]
    m = [0.0] * len(p)
    b1, b2 = betas
    for g in grads:
        for i in range(len(p)):
            c = b1 * m[i] + (1 - b1) * float(g[i])
            sign = (c > 0) - (c < 0)
            p[i] -= learning_rate * (sign + weight_decay * p[i])
            m[i] = b2 * m[i] + (1 - b2) * float(g[i])
    return np.array(p)

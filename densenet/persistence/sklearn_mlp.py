"""Models from scikit-learn's fitted multilayer perceptrons."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.layers import Dense, Exp, Identity, ReLU, Sigmoid, Softmax, Tanh
from densenet.layers.base import Layer
from densenet.persistence.answers import check_same_answers, replaced_methods
from densenet.sequential import Sequential

_ACTIVATIONS: dict[str, type[Layer]] = {
    "identity": Identity,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
    "exp": Exp,
}
_DTYPES = {np.dtype(np.float32), np.dtype(np.float64)}


def from_sklearn(estimator: Any) -> Sequential:
    """A model that computes what a fitted scikit-learn perceptron does, including its output activation.

    For an ``MLPClassifier`` `predict` gives what its ``predict_proba`` gives, columns in the order of ``classes_``
    (with two classes one column, the second class's); for an ``MLPRegressor`` what its ``predict`` gives. Both answers
    are compared on random rows first; they agree within 1e-5 (float32) or 1e-12 (float64) of the largest.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted. Of a pipeline give the last step; the steps before it are not part of the model.

    Returns
    -------
    Sequential
        In the dtype of its weights.

    Raises
    ------
    TypeError
        If it is anything else (a subclass may compute otherwise), or has replaced methods.
    ValueError
        If it is not fitted, or its weights are not finite numbers of one dtype with matching shapes.
    ArithmeticError
        If the answers differ all the same.
    ImportError
        Without the extra ``[sklearn]``.

    Examples
    --------
    >>> import densenet as dn
    >>> from sklearn.neural_network import MLPClassifier
    >>> x, y = dn.datasets.load_digits()
    >>> fitted = MLPClassifier([16], random_state=0, max_iter=200, tol=1e-3).fit(x, y)
    >>> model = dn.from_sklearn(fitted)
    >>> model
    Sequential([Dense(64, 16), ReLU(), Dense(16, 10), Softmax()], dtype='float32')
    >>> bool(abs(model.predict(x) - fitted.predict_proba(x)).max() < 1e-5)
    True
    """
    try:
        from sklearn.neural_network import MLPClassifier, MLPRegressor
    except ImportError:
        raise ImportError("from_sklearn needs scikit-learn: pip install '.[sklearn]'") from None
    if type(estimator) not in (MLPClassifier, MLPRegressor):
        raise TypeError(
            f"from_sklearn expects a fitted MLPClassifier or MLPRegressor, got {estimator!r}. Of a pipeline give the "
            "last step, and of a search its best_estimator_; a subclass may compute something else."
        )
    if replaced := replaced_methods(estimator):
        raise TypeError(f"from_sklearn expects an estimator without methods of its own, got {', '.join(replaced)}.")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"from_sklearn expects a fitted estimator, got {estimator!r}: call fit first.")
    _check_weights(estimator)
    dense = [Dense(*coefficients.shape) for coefficients in estimator.coefs_]
    chain: list[Layer] = []
    for layer in dense[:-1]:
        chain += [layer, _ACTIVATIONS[estimator.activation]()]
    chain.append(dense[-1])
    if estimator.out_activation_ != "identity":
        chain.append(_ACTIVATIONS[estimator.out_activation_]())
    model = Sequential(chain, seed=0, dtype=estimator.coefs_[0].dtype)
    for layer, coefficients, intercepts in zip(dense, estimator.coefs_, estimator.intercepts_, strict=True):
        layer.W, layer.b = coefficients, intercepts
    check_same_answers(model, lambda x: _answers(estimator, x), "from_sklearn", "the estimator")
    return model


def _check_weights(estimator: Any) -> None:
    """Raise ValueError unless the weights are finite arrays of one dtype with matching shapes."""
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    arrays = [*coefs, *intercepts]
    dtypes = {getattr(array, "dtype", None) for array in arrays if type(array) is np.ndarray}
    if len(dtypes) != 1 or not all(type(array) is np.ndarray for array in arrays) or dtypes - _DTYPES:
        raise ValueError(
            "from_sklearn expects coefs_ and intercepts_ to be arrays of one dtype, float32 or float64, got "
            f"{sorted({str(getattr(array, 'dtype', type(array).__name__)) for array in arrays})}."
        )
    shapes = [array.shape for array in arrays]
    width, wanted = estimator.n_features_in_, []
    for shape in shapes[: len(coefs)]:
        wanted.append((width, *shape[1:2]))
        width = shape[-1] if shape else 0
    wanted += [shape[-1:] for shape in wanted]
    if shapes != wanted or len(coefs) != estimator.n_layers_ - 1 or width != estimator.n_outputs_:
        raise ValueError(
            f"from_sklearn expects coefs_ and intercepts_ of {estimator.n_layers_ - 1} layers from "
            f"{estimator.n_features_in_} to {estimator.n_outputs_} columns, got the shapes {shapes}."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("from_sklearn expects finite coefs_ and intercepts_, got NaN or infinity among them.")
    for name in (estimator.activation, estimator.out_activation_):
        if name not in _ACTIVATIONS:
            raise ValueError(f"from_sklearn knows the activations {', '.join(_ACTIVATIONS)}, got {name!r}.")


def _answers(estimator: Any, x: Array) -> Array:
    """The estimator's answers in the form that the model gives; its classes must agree with them.

    Raises
    ------
    ArithmeticError
        If `predict` and `predict_proba` disagree.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")  # these rows have none
        predicted = estimator.predict(x)
        if not hasattr(estimator, "classes_"):
            return np.asarray(predicted).reshape(len(x), -1)
        shares = np.asarray(estimator.predict_proba(x))
    several = estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1
    names = np.asarray(estimator.classes_)
    if len(names) == 1:  # fitted with one class
        classes = np.broadcast_to(names, len(x))
    else:
        classes = shares > 0.5 if several else names[shares.argmax(axis=1)]
    if not np.array_equal(classes, predicted):
        raise ArithmeticError(
            "from_sklearn: the estimator's predict and predict_proba tell of different classes: classes_ is not what "
            "it was fitted with."
        )
    return shares[:, 1:] if estimator.n_outputs_ == 1 else shares

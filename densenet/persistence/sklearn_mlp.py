"""Models from scikit-learn's fitted multilayer perceptrons."""

from __future__ import annotations

from typing import Any

from densenet.layers import Dense, Exp, Identity, ReLU, Sigmoid, Softmax, Tanh
from densenet.layers.base import Layer
from densenet.sequential import Sequential

_ACTIVATIONS: dict[str, type[Layer]] = {
    "identity": Identity,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
    "exp": Exp,
}


def from_sklearn(estimator: Any) -> Sequential:
    """The model that computes what a fitted scikit-learn perceptron does, the activation of its output included.

    For an ``MLPClassifier`` `predict` gives what its ``predict_proba`` gives, columns in the order of ``classes_``
    (with two classes one column, the second class's); for an ``MLPRegressor`` what its ``predict`` gives.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    Sequential
        In the dtype of its weights.

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If it is not fitted.
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
    if not isinstance(estimator, MLPClassifier | MLPRegressor):
        raise TypeError(f"from_sklearn expects a fitted MLPClassifier or MLPRegressor, got {estimator!r}.")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"from_sklearn expects a fitted estimator, got {estimator!r}: call fit first.")
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
    return model

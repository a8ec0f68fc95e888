"""What ``densenet train`` says of a table's answer: held-out figures with intervals, beside other models'."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from densenet._display import text_table
from densenet._types import Array
from densenet.metrics import R2, ROCAUC
from densenet.tables import TablePreparation
from densenet.tabular.linear import LinearBaseline, with_interval

MOST_ROWS, MOST_COLUMNS, REPEATS = 2000, 200, 5
"""Of `importance`."""
_ROWS_FOR_THREADS = 10_000


def beside_others(
    x: Array,
    y: Array,
    training: Array,
    held_out: Array,
    answers: Array,
    classes: int,
    who: str = "network",
    linear: str = "--preset linear",
) -> str:
    """A table of figures on the held-out rows: the network, and other models of the same training rows; which is ahead.

    Parameters
    ----------
    x : ndarray (n, n_in)
        The network's inputs; the others take the same.
    y : ndarray (n,)
        Class numbers, or numbers in the user's units.
    training, held_out : ndarray of int
        Row numbers.
    answers : ndarray (held-out rows, classes) or (held-out rows,)
        The network's probabilities, or its predictions in the user's units.
    classes : int
        0 for numbers.
    who : str, default "network"
        Whose answers they are.
    linear : str
        The option that makes the linear model.
    """
    found = {who: answers}
    if who != "linear model":
        said = LinearBaseline(x[training], y[training], classes).predict(x[held_out])
        found["linear model"] = said if classes else said[:, 0]
    if importlib.util.find_spec("sklearn") is not None:
        found["boosted trees"] = _boosted(x, y, training, held_out, classes)
    truth = y[held_out]
    lines = [text_table(_figures(found, truth, classes), "<" + ">" * (3 if classes else 2))]
    if who != "linear model":
        _, low, high = with_interval(_gains(answers, found["linear model"], truth, classes))
        if high < 0:
            lines.append(
                f"the linear model is ahead: it is simpler and answers better here; {linear} trains and writes it"
            )
        elif low <= 0:
            lines.append("network and linear model cannot be told apart on these rows")
    return "\n".join(lines)


def _figures(found: Mapping[str, Array], truth: Array, classes: int) -> list[tuple[str, ...]]:
    interval = "(90 % interval)"
    rows: list[tuple[str, ...]]
    if classes:
        rows = [("held out", f"accuracy {interval}", f"log-loss {interval}", "AUC")]
        for who, p in found.items():
            right, loss = (p.argmax(axis=1) == truth).astype(float), _log_loss(p, truth)
            rows.append((who, _share(right), _shown(loss), f"{_auc(p, truth):.4f}"))
        return rows
    rows = [("held out", f"mean absolute error {interval}", "R2")]
    for who, said in found.items():
        r2 = R2()
        r2.update(said[:, None], truth[:, None])
        rows.append((who, _shown(np.abs(said - truth)), f"{r2.result():.4f}"))
    return rows


def _shown(each: Array) -> str:
    mean, low, high = with_interval(each)
    return f"{mean:.4g} ({low:.4g} to {high:.4g})"


def _share(right: Array) -> str:
    """A share of rows and its Wilson interval, which has a width also where all rows are right [1]_.

    References
    ----------
    .. [1] Brown, Cai and DasGupta, "Interval estimation for a binomial proportion" (2001), Statistical Science 16(2).
    """
    n, p, z = len(right), float(right.mean()), 1.645  # the normal distribution's 95 % quantile
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return f"{p:.4g} ({center - half:.4g} to {center + half:.4g})"


def _log_loss(p: Array, truth: Array) -> Array:
    """-log p of the true class, p kept from 0 by one in a million."""
    losses: Array = -np.log(np.clip(p[np.arange(len(p)), truth], 1e-6, 1.0))
    return losses


def _auc(p: Array, truth: Array) -> float:
    """The area under the ROC curve; of several classes the mean of each against the rest, where both are there."""
    areas = []
    for k in [1] if p.shape[1] == 2 else range(p.shape[1]):
        there = truth == k
        if 0 < there.sum() < len(there):
            area = ROCAUC()
            area.update(p[:, k : k + 1], there[:, None].astype(float))
            areas.append(area.result())
    return float(np.mean(areas)) if areas else float("nan")


def _gains(ours: Array, theirs: Array, truth: Array, classes: int) -> Array:
    """By how much our answer to every row is better."""
    gains: Array
    if classes:
        gains = (ours.argmax(axis=1) == truth).astype(float) - (theirs.argmax(axis=1) == truth)
    else:
        gains = np.abs(theirs - truth) - np.abs(ours - truth)
    return gains


def _boosted(x: Array, y: Array, training: Array, held_out: Array, classes: int) -> Array:
    """scikit-learn's histogram gradient boosting at its defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    # Threads that wait for each other in a loop take longer over few rows than one does.
    with threadpool_limits(1 if len(training) < _ROWS_FOR_THREADS else None, "openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of many classes, which the command has spoken of
        if not classes:
            said: Array = (
                HistGradientBoostingRegressor(random_state=0).fit(x[training], y[training]).predict(x[held_out])
            )
            return said
        trees = HistGradientBoostingClassifier(random_state=0).fit(x[training], y[training])
        p = np.zeros((len(held_out), classes))
        p[:, trees.classes_] = trees.predict_proba(x[held_out])
        return p


def importance(predict: Callable[[Array], Array], preparation: TablePreparation, x: Array, y: Array, seed: int) -> str:
    """What each column is worth: the error of held-out rows with its values shuffled, less the error without.

    The error is the log-loss, or the root mean squared error in the user's units, of at most 2,000 rows; five shuffles
    each, with their standard deviation [1]_.

    Parameters
    ----------
    predict : callable
        Probabilities, or predictions in the user's units, of rows of x.
    preparation : TablePreparation
    x, y : ndarray
        Held-out rows: inputs; class numbers, or numbers in the user's units.
    seed : int

    References
    ----------
    .. [1] Breiman, "Random forests" (2001), Machine Learning 45, section 10.
    """
    columns = preparation.features_by_column
    if len(columns) > MOST_COLUMNS:
        return f"importance of columns: not measured, since there are {len(columns):,}, more than {MOST_COLUMNS}"
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    x, y = x[rows], y[rows]

    def error(inputs: Array) -> float:
        said = predict(inputs)
        if preparation.task == "classification":
            return float(_log_loss(said, y).mean())
        return float(np.sqrt(np.mean((said - y) ** 2)))

    plain, at, found = error(x), 0, []
    for name, features in columns.items():
        rises = []
        for _ in range(REPEATS):
            shuffled = x.copy()
            shuffled[:, at : at + len(features)] = x[rng.permutation(len(x)), at : at + len(features)]
            rises.append(error(shuffled) - plain)
        at += len(features)
        found.append((float(np.mean(rises)), float(np.std(rises)), name))
    found.sort(key=lambda each: -each[0])
    what = "log-loss" if preparation.task == "classification" else "RMSE"
    lines: list[tuple[str, ...]] = [("column", f"{what} more when shuffled", "spread")]
    lines += [(name[:40], f"{mean:.4g}", f"{spread:.2g}") for mean, spread, name in found[:10]]
    return text_table(lines, "<>>")


def picture(preparation: TablePreparation, y: Array, answers: Array) -> Any:
    """A figure of held-out rows: predicted against true; or confusion and calibration."""
    from matplotlib.figure import Figure

    from densenet.plots import calibration, confusion_matrix, predicted_against_true, residual_histogram

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if preparation.task == "classification":
        names = np.array([str(name) for name in preparation.classes or []])
        there = np.unique(np.concatenate([y, answers.argmax(axis=1)]))
        confusion_matrix(y, answers.argmax(axis=1), labels=names[there].tolist(), ax=left)
        calibration(y, answers, ax=right)
    else:
        predicted_against_true(y, answers, ax=left)
        residual_histogram(y, answers, ax=right)
    return figure

"""Evaluation of a model: the error and the metrics, with running statistics and without noise."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from densenet._blas import one_pool
from densenet._memory import Buffers
from densenet._types import Array
from densenet.losses.base import Loss
from densenet.metrics import Metric
from densenet.sequential import Sequential
from densenet.training.data import ArrayBatches, StreamBatches
from densenet.training.ranks import Ranks
from densenet.training.run import Run


def evaluate(
    model: Sequential,
    loss: Loss,
    metrics: Sequence[Metric],
    data: ArrayBatches | StreamBatches,
    rows: int | None = None,
    ranks: Ranks | None = None,
    outputs: list[Array] | None = None,
) -> dict[str, float]:
    """The error and every metric's figure, `rows` at a time; model, loss and metrics stay as they are.

    With `ranks`, `data` is this rank's share (`Ranks.share`), and the figures are those of all shares. The model's
    outputs are added to `outputs`, a copy for each batch.

    Raises
    ------
    ValueError
        If there are no rows, or all weigh 0.
    """
    loss, metrics, work = copy.copy(loss), copy.deepcopy(metrics), Buffers()
    for metric in metrics:
        metric.reset()
    total = weights = 0.0
    with one_pool():
        for x, y, weight in data.epoch(rows or model.predict_rows):
            output = model.run_infer(x, work)
            if outputs is not None:
                outputs.append(output.copy())
            total += loss.error(output, y, weight) * loss.total_weight
            weights += loss.total_weight
            measure(metrics, loss, y, weight)
    if ranks is not None:
        total, weights = ranks.sum([total, weights])
        ranks.merge(metrics)
    if not weights:
        raise ValueError("evaluate got no rows, or weights of zero only.")
    return {"loss": total / weights} | {metric.name: metric.result() for metric in metrics}


def validate(run: Run, loss: Loss, data: ArrayBatches | StreamBatches, ranks: Ranks | None = None) -> dict[str, float]:
    """An epoch's figures of the validation rows, "val_" before their names; the outputs where a callback asks."""
    kept: list[Array] | None = [] if run.keeps_outputs else None
    figures = evaluate(run.model, loss, run.metrics, data, ranks=ranks, outputs=kept)
    run.outputs = None if kept is None else np.concatenate(kept)
    return {f"val_{name}": value for name, value in figures.items()}


def measure(metrics: Sequence[Metric], loss: Loss, y: Array, weight: Array | None) -> None:
    """Update each metric with a batch's prediction, in the form that the metric takes."""
    for metric in metrics:
        metric.update(loss.last_probabilities() if metric.wants_probabilities else loss.last_prediction(), y, weight)

"""Several models that answer as one: the mean of their probabilities, or of their outputs."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from densenet._types import Array
from densenet.layers import Average, Exp, Layer, Sigmoid, Softmax
from densenet.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from densenet.losses.base import Loss
from densenet.sequential import Sequential


class Ensemble:
    """The mean of m models' answers: of probabilities for classes, of outputs for numbers.

    ::

        p = (p_1 + ... + p_m) / m        or        y = (y_1 + ... + y_m) / m

    It is one `Sequential` of one layer, `densenet.layers.Average`. So it is saved, exported and explained as every
    other model: ``ensemble.save(path)`` writes one file, ``Ensemble(dn.load(path))`` reads it, and
    ``dn.to_onnx(ensemble.model, path)`` makes one graph.

    Parameters
    ----------
    models : sequence of Sequential, or a Sequential that an ensemble has saved
        All of one width and dtype, and of tables that were prepared alike. They are copied.
    loss : Loss, optional
        What they were trained with; by default what the models know. A loss for classes says how outputs become
        probabilities.

    Attributes
    ----------
    model : Sequential
    members : tuple of Sequential
        The models, with the link to probabilities at their ends.

    Raises
    ------
    TypeError
        If there is anything but models.
    ValueError
        If there is none, widths, dtypes, preparations or losses differ, or the loss has no link to probabilities.

    References
    ----------
    .. [1] Breiman, "Bagging predictors" (1996), Machine Learning 24, section 4.

    Examples
    --------
    >>> import densenet as dn
    >>> models = [dn.mlp([2, 8, 3], seed=seed) for seed in range(4)]
    >>> ensemble = dn.Ensemble(models, loss=dn.SoftmaxCrossEntropy())
    >>> ensemble
    Ensemble(4 members, 2 -> 3)
    >>> p = ensemble.predict([[1.0, 2.0]])
    >>> p.shape, round(float(p.sum()), 6)
    ((1, 3), 1.0)
    >>> path = getfixture("tmp_path") / "ensemble.npz"
    >>> ensemble.save(path)
    >>> bool((dn.Ensemble(dn.load(path)).predict([[1.0, 2.0]]) == p).all())
    True
    """

    def __init__(self, models: Sequence[Sequential] | Sequential, *, loss: Loss | None = None) -> None:
        if isinstance(models, Sequential):
            if len(models) != 1 or not isinstance(models[0], Average):
                raise ValueError(
                    f"Ensemble expects a list of models, or one that an ensemble has saved, got {models!r}."
                )
            self.model = models
            return
        listed = list(models)
        if not listed:
            raise ValueError("Ensemble expects at least one model, got none.")
        for i, model in enumerate(listed):
            if not isinstance(model, Sequential):
                raise TypeError(f"Ensemble expects models, got {type(model).__name__} as number {i}.")
        _check_alike(listed)
        if loss is None and len({_reads(model.loss) for model in listed}) > 1:
            losses = ", ".join(sorted({str(model.loss) for model in listed}))
            raise ValueError(f"Ensemble expects models of one kind of loss, or loss=, got {losses}.")
        loss = listed[0].loss if loss is None else loss
        ends, kept = _link(loss)
        chains = [[*copy.deepcopy(model.layers), *copy.deepcopy(ends)] for model in listed]
        self.model = Sequential([Average(chains)], dtype=listed[0].dtype.name)
        self.model.loss, self.model.preparation = kept, listed[0].preparation

    def __len__(self) -> int:
        return len(self._average.branches)

    def __repr__(self) -> str:
        return f"Ensemble({len(self)} members, {self.model.n_in} -> {self.model.n_out})"

    @property
    def _average(self) -> Average:
        layer = self.model[0]
        assert isinstance(layer, Average)
        return layer

    @property
    def members(self) -> tuple[Sequential, ...]:
        """Copies of the models, each with the link to probabilities at its end."""
        chains = copy.deepcopy(self._average).branches
        return tuple(Sequential(list(chain), dtype=self.model.dtype.name) for chain in chains)

    def predict(self, x: Any) -> Array:
        """The mean of the members' answers, (n, n_out).

        Parameters
        ----------
        x : array_like (n, n_in)
        """
        return self.model.predict(x)

    def spread(self, x: Any) -> Array:
        """The standard deviation of the members' answers, (n, n_out): how far they differ, not how far they err.

        Parameters
        ----------
        x : array_like (n, n_in)
        """
        spread: Array = np.std([member.predict(x) for member in self.members], axis=0)
        return spread

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members to one file, as `Sequential.save` does."""
        self.model.save(path)


def _reads(loss: Loss | None) -> tuple[str, str] | None:
    return None if loss is None else (loss.task, loss.expects)


def _check_alike(models: Sequence[Sequential]) -> None:
    """ValueError where models take or give other columns, or mean something else by them."""
    first, prepared = models[0], _prepares(models[0])
    for i, model in enumerate(models):
        if model.dtype != first.dtype:
            raise ValueError(f"Ensemble expects models of one dtype, got {first.dtype} and {model.dtype}.")
        if (model.n_in, model.n_out) != (first.n_in, first.n_out):
            shapes = f"{first.n_in} -> {first.n_out} and {model.n_in} -> {model.n_out}"
            raise ValueError(f"Ensemble expects models that take and give as many columns, got {shapes}.")
        if _prepares(model) != prepared:
            raise ValueError(
                f"Ensemble expects models of tables that were prepared alike, and number {i} has other columns, means "
                "or scales than number 0: train them as members (n_members, --members), or on the same rows."
            )


def _prepares(model: Sequential) -> dict[str, Any]:
    """What its preparation makes of a table."""
    state = {} if model.preparation is None else model.preparation.state()
    return {name: part for name, part in state.items() if name != "dropped"}


def _link(loss: Loss | None) -> tuple[list[Layer], Loss | None]:
    """The layers that make probabilities of the outputs, and the loss that takes those."""
    if loss is None or loss.task == "regression":
        return [], loss
    if loss.expects == "values":
        raise ValueError(f"Ensemble averages probabilities, and {loss!r} has no link to them.")
    binary = loss.task == "binary"
    ends: dict[str, list[Layer]] = {
        "logits": [Sigmoid() if binary else Softmax()],
        "log-probabilities": [Exp()],
        "probabilities": [],
    }
    return ends[loss.expects], BinaryCrossEntropy() if binary else CategoricalCrossEntropy()

"""The record of a training run: one number an epoch for the loss, every metric, the rate and the time."""

from __future__ import annotations

import csv
import os
from typing import Any

import numpy as np

from densenet._files import replacing_text


class History(dict[str, list[float]]):
    """What `fit` returns: a dict of figures by name, one an epoch; `len` counts the epochs.

    Keys are ``loss``, the metrics' names, both with ``val_`` where there is validation data, ``penalty`` where a layer
    has one, ``learning_rate``, and ``seconds`` (cumulative, without validation).

    Attributes
    ----------
    stopped : str
        Why it ended: ``"finished"``, ``"interrupted"``, or what the callback that stopped it says.
    compiled : bool
        Whether kernels made the steps, not the NumPy lines.
    train_indices, validation_indices : ndarray of int or None
        The rows of x that `validation_split` drew.

    Examples
    --------
    >>> import densenet as dn
    >>> history = dn.History()
    >>> history.append({"loss": 0.5})
    >>> history.append({"loss": 0.25})
    >>> history["loss"], len(history), history.last["loss"]
    ([0.5, 0.25], 2, 0.25)
    >>> dict(history)
    {'loss': [0.5, 0.25]}
    """

    def __init__(self) -> None:
        self._length = 0
        self.stopped = ""
        self.compiled = False
        self.train_indices: np.ndarray[Any, Any] | None = None
        self.validation_indices: np.ndarray[Any, Any] | None = None

    def append(self, figures: dict[str, float]) -> None:
        """Add one epoch's figures; a name that is new or missing is NaN elsewhere."""
        for name in figures:
            self.setdefault(name, [float("nan")] * self._length)
        for name, column in self.items():
            column.append(float(figures.get(name, float("nan"))))
        self._length += 1

    def keys(self) -> list[str]:  # type: ignore[override]
        """The figures' names."""
        return list(self)

    def __missing__(self, name: str) -> list[float]:
        raise KeyError(f"no figure {name!r} in the history; there are {', '.join(self) or 'none'}.")

    def __len__(self) -> int:
        """Number of epochs."""
        return self._length

    @property
    def last(self) -> dict[str, float]:
        """The last epoch's figures."""
        return {name: column[-1] for name, column in self.items() if column}

    @property
    def drawn(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
        """The rows that `validation_split` drew, for training and for validation."""
        if self.train_indices is None or self.validation_indices is None:
            return None
        return self.train_indices, self.validation_indices

    def to_dict(self) -> dict[str, list[float]]:
        """The figures as plain lists, by name: a copy."""
        return {name: list(column) for name, column in self.items()}

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row an epoch, numbered from 1, and one column a figure.

        Raises
        ------
        ImportError
            Without pandas: the extra ``[dataframe]``.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ImportError("History.to_frame needs pandas: pip install '.[dataframe]'") from None
        return pandas.DataFrame(self, index=pandas.RangeIndex(1, len(self) + 1, name="epoch"))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with one row an epoch, numbered from 1.

        Raises
        ------
        OSError
            If the file cannot be written; it names the file, and an old one is as it was.
        """
        with replacing_text(path) as file:
            table = csv.writer(file)
            table.writerow(["epoch", *self])
            for i in range(self._length):
                table.writerow([i + 1, *(repr(column[i]) for column in self.values())])

    def plot(self, figure: str = "loss", *, ax: Any = None) -> Any:
        """Draw one figure over the epochs, with validation where there is one; see `plots.learning_curves`.

        Parameters
        ----------
        figure : str, default "loss"
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            If the history is empty or has no such figure.
        """
        from densenet.plots import learning_curves

        return learning_curves(self, figure=figure, ax=ax)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as arrays by name."""
        return {
            "figures": {name: np.array(column) for name, column in self.items()},
            "train_indices": self.train_indices,
            "validation_indices": self.validation_indices,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s values back."""
        self.clear()
        self.update({name: column.tolist() for name, column in state["figures"].items()})
        self._length = max(map(len, self.values()), default=0)
        self.train_indices, self.validation_indices = state["train_indices"], state["validation_indices"]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state.pop("_columns", {}))  # of a pickle of densenet 0.1
        self.__dict__.update(state)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.last.items())
        how = ", compiled" if self.compiled else ""
        return f"<History of {self._length} epochs, {self.stopped or 'running'}{how}: {figures}>"

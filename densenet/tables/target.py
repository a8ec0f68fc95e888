"""What is predicted: classes in sorted order, or standardised numbers, and the way back to the user's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densenet._types import Array
from densenet._validation import as_labels, as_numbers, check_finite
from densenet.tables.cells import is_boolean
from densenet.tables.inputs import NumericInput, as_numeric, spelled
from densenet.tables.messages import listed
from densenet.tables.states import check_sorted, check_standard, fields_of
from densenet.tables.table import Table, as_texts, is_absent

LARGEST_CLASS = 2**53
"""Up to here float64 has every whole number."""


@dataclass(frozen=True)
class Target:
    """Classes, or the mean and the scale of a regression's values (then `classes` is None)."""

    name: str
    classes: list[str] | list[int] | None
    mean: float = 0.0
    scale: float = 1.0

    def encoded(self, table: Table) -> Array:
        """The network's targets of a table's rows."""
        values = table[table.require(self.name, "TablePreparation")]
        check_complete(self.name, values, "TablePreparation")
        if self.classes is None:
            standard = np.empty((len(table), 1), np.float32)
            NumericInput(self.name, self.mean, self.scale, False).fill(values, standard)
            return standard[:, 0]
        numbered = isinstance(self.classes[0], int)
        labels = as_numeric(self.name, values).tolist() if numbered else as_texts(values)
        number: dict[Any, int] = {label: k for k, label in enumerate(self.classes)}
        words = [label for label in self.classes if isinstance(label, str)]
        if words and is_boolean(words):
            labels = spelled(labels, words)
        for row, label in enumerate(labels):
            if label not in number:
                raise ValueError(
                    f"TablePreparation knows the classes {listed(self.classes)} of {self.name!r}, got "
                    f"{values[row]!r} in row {row}."
                )
        return np.array([number[label] for label in labels], np.int64)

    def decoded(self, prediction: Any) -> Array:
        """Predictions in the user's units."""
        who = "TablePreparation.inverse_target"
        if self.classes is not None:
            numbers = as_labels(prediction, len(self.classes), who)
            if numbers is None:
                outputs = as_numbers(prediction, who, "prediction")
                check_finite(outputs, who, "prediction")
                numbers = outputs.argmax(axis=1)
            return np.array(self.classes, np.int64 if isinstance(self.classes[0], int) else object)[numbers]
        values = as_numbers(prediction, who, "prediction").astype(np.float64)
        if values.ndim not in (1, 2):
            raise ValueError(f"{who} expects shape (n,), (n, 1) or (n, k), got {values.shape}.")
        check_finite(values, who, "prediction")
        if values.shape[1:] == (1,):
            values = values[:, 0]
        return np.asarray(self.mean + self.scale * values)  # y = m + s t

    def state(self) -> dict[str, Any]:
        if self.classes is None:
            return {"name": self.name, "mean": self.mean, "scale": self.scale}
        return {"name": self.name, "classes": self.classes.copy()}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Target:
        if "classes" not in state:
            fields = fields_of(state, {"name": str, "mean": float, "scale": float}, "the target")
            check_standard(fields, "the target")
            return Target(fields["name"], None, fields["mean"], fields["scale"])
        fields = fields_of(state, {"name": str, "classes": list}, "the target")
        classes = fields["classes"]
        check_sorted(classes, (str, int), "the target")
        if isinstance(classes[0], int) and max(abs(classes[0]), abs(classes[-1])) > LARGEST_CLASS:
            raise ValueError("TablePreparation state: a class of the target is too large.")
        return Target(fields["name"], classes.copy())


def check_complete(name: str, values: Array, who: str) -> None:
    """Refuse a target without a value in some row."""
    absent = np.flatnonzero(is_absent(values))
    if len(absent):
        raise ValueError(
            f"{who} expects a value of the target {name!r} in every row, got none in row {absent[0]}: fill it in or "
            "drop such rows."
        )

"""What ``densenet train`` prints of a model and writes: figures of its rows, files, pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from densenet import losses, persistence
from densenet._display import text_table
from densenet._files import replacing
from densenet.metrics import MAE, R2, RMSE
from densenet.sequential import Sequential
from densenet.tables import TablePreparation
from densenet.training.history import History
from densenet.training.trainer import Trainer


class Part(NamedTuple):
    """Rows to take figures of: x and y, or batches of them and no y."""

    name: str
    rows: int
    x: Any
    y: Any = None

    def batches(self) -> Iterable[tuple[Any, Any]]:
        """x and y, batch by batch."""
        return self.x if self.y is None else [(self.x, self.y)]


def results(trainer: Trainer, preparation: TablePreparation | None, parts: list[Part]) -> str:
    """The table of results, in the user's units, beside a baseline that knows the first part's targets only."""
    rows: list[tuple[str, ...]]
    if preparation is None or preparation.task == "classification":
        rows = [("", "rows", "accuracy", "loss", "majority baseline")]
        counted = [_counts(part, trainer.model.n_out) for part in parts]
        majority = counted[0].argmax()
        for part, counts in zip(parts, counted, strict=True):
            figures = trainer.evaluate(part.x, part.y)
            shares = (figures["accuracy"], figures["loss"], counts[majority] / part.rows)
            rows.append((part.name, f"{part.rows:,}", *(f"{share:.4f}" for share in shares)))
    else:
        rows = [("", "rows", "RMSE", "MAE", "R2", "RMSE of the mean")]
        for part in parts:
            meters = rmse, mae, r2, rmse_of_mean = RMSE(), MAE(), R2(), RMSE()
            for x, t in part.batches():
                y, predicted = preparation.inverse_target(t), preparation.inverse_target(trainer.model.predict(x))
                for meter in meters[:3]:
                    meter.update(predicted[:, None], y[:, None])
                mean = preparation.inverse_target(np.zeros(len(y)))
                rmse_of_mean.update(mean[:, None], y[:, None])
            wide = (f"{meter.result():.6g}" for meter in (rmse, mae))
            rows.append((part.name, f"{part.rows:,}", *wide, f"{r2.result():.4f}", f"{rmse_of_mean.result():.6g}"))
    return text_table(rows, "<" + ">" * (len(rows[0]) - 1))


def _counts(part: Part, classes: Any) -> Any:
    """Rows of every class."""
    return sum(np.bincount(y, minlength=classes) for _, y in part.batches())


def write_results(
    folder: Path,
    model: Sequential,
    loss: losses.Loss,
    preparation: TablePreparation | None,
    histories: list[History],
    figures: dict[str, Any] | None = None,
) -> None:
    """The model, a history of each member, and the pictures."""
    persistence.save_model(model, folder / "model.npz", loss=loss, preparation=preparation)
    written, figures = ["model.npz"], dict(figures or {})
    for i, history in enumerate(histories, 1):
        name = "history.csv" if len(histories) == 1 else f"history_{i}.csv"
        history.to_csv(folder / name)
        written.append(name)
    if histories and len(histories[0]):
        from matplotlib.figure import Figure

        from densenet.plots import learning_curves

        figure = figures["learning_curves.png"] = Figure(figsize=(8, 3.2), layout="constrained")
        learning_curves(histories[0], ax=figure.subplots())
    for name, figure in figures.items():
        with replacing(folder / name) as file:
            figure.savefig(file, format="png", dpi=150)
        written.append(name)
    print(f"written to {folder}: {', '.join(written)}")

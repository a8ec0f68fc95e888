"""Learning curves that grow while the network trains."""

from __future__ import annotations

import io
import time
from typing import Any, ClassVar

from densenet._validation import fraction
from densenet.plots.curves import learning_curves
from densenet.training.history import History
from densenet.training.hooks import Callback
from densenet.training.progress import in_notebook
from densenet.training.run import Run

_FIRST_GUESS = 0.2
_MOST_FIGURES = 3


class LivePlot(Callback):
    """Redraw the learning curves in a notebook while training.

    The picture is an image that the notebook replaces; no widgets are needed. A picture is only drawn when all drawing
    so far, with the next one, stays within a share of the time that has passed, and once more at the end, so that the
    cell keeps the whole curves. Outside a notebook nothing is drawn.

    Parameters
    ----------
    figures : str
        Training figures to draw, such as "loss", "accuracy"; by default the loss and the metrics, up to three.
    share : float in [0, 1), default 0.03
        Of the time, spent on pictures while training.

    Attributes
    ----------
    pictures : int
        Drawn in the last fit.

    Raises
    ------
    TypeError
        If a figure is no name.
    ValueError
        If `share` is out of range; by fit, if there is no such figure.

    Examples
    --------
    >>> import densenet as dn
    >>> x, y = dn.datasets.load_digits()
    >>> trainer = dn.Trainer(dn.mlp([64, 32, 10], seed=0), "softmax_cross_entropy", "adam", metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=2, seed=0, callbacks=[dn.LivePlot()])
    """

    observes: ClassVar[bool] = True

    def __init__(self, *figures: str, share: float = 0.03) -> None:
        for name in figures:
            if not isinstance(name, str):
                raise TypeError(f'LivePlot expects names of figures such as "loss", got {name!r}.')
        self.figures, self.share = figures, fraction(share, "LivePlot", "share")
        self.pictures = self._epochs = 0
        self._shown = False
        self._handle: Any = None
        self._began = self._spent = 0.0
        self._next = _FIRST_GUESS

    def on_fit_begin(self, run: Run) -> None:
        self.pictures = self._epochs = 0
        self._handle, self._spent, self._next = None, 0.0, _FIRST_GUESS
        self._shown = in_notebook()
        self._began = time.perf_counter()

    def on_epoch_end(self, run: Run) -> None:
        for name in self.figures:
            run.figure(name, "LivePlot")
        if self._shown and self._spent + self._next <= self.share * (time.perf_counter() - self._began):
            self._draw(run)

    def on_fit_end(self, run: Run) -> None:
        if self._shown and len(run.history) > self._epochs and all(name in run.history for name in self.figures):
            self._draw(run)

    def _draw(self, run: Run) -> None:
        from IPython import display

        tools: Any = display
        start = time.perf_counter()
        names = self.figures or ("loss", *(metric.name for metric in run.trainer.metrics))[:_MOST_FIGURES]
        image = tools.Image(data=picture(run.history, names), format="png")
        if self._handle is None:
            self._handle = tools.display(image, display_id=True)
        else:
            self._handle.update(image)
        self._next = time.perf_counter() - start
        self._spent += self._next
        self.pictures += 1
        self._epochs = len(run.history)


def picture(history: History, figures: tuple[str, ...]) -> bytes:
    """Learning curves side by side, as PNG; made without pyplot, so that no figure stays open.

    Parameters
    ----------
    history : History
    figures : tuple of str
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = min(8.0, 1.6 + 3.4 * len(figures)), 3.0  # inches
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    for place, name in enumerate(figures, start=1):
        learning_curves(history, figure=name, ax=figure.add_subplot(1, len(figures), place))
    # fixed margins: looking for them takes as long as drawing
    figure.subplots_adjust(0.8 / width, 0.55 / height, 1 - 0.15 / width, 1 - 0.2 / height, wspace=0.4)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()

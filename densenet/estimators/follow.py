"""What scikit-learn does in and after every epoch: the penalty, the record, when to stop, which epoch is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from densenet._blas import products
from densenet.estimators.data import HeldOut
from densenet.estimators.parameters import Settings
from densenet.optimizers.base import Optimizer
from densenet.sequential import Sequential
from densenet.tabular.training import BestWeights
from densenet.training.hooks import Callback
from densenet.training.run import Run


@dataclass
class Record:
    """What an estimator knows of its fits; one that goes on continues it.

    Attributes
    ----------
    loss : float
        The last epoch's error with penalty.
    losses, held_out_losses, scores : list of float
        One an epoch; the latter two are None without held-out rows.
    best_loss, best_score : float or None
    epochs : int
        Of the last fit.
    samples : int
        Rows seen in all fits.
    waited : int
        Epochs since the best figure.
    best_figure : float
        What says which epoch is best: the score, or minus the held-out loss.
    """

    loss: float = math.nan
    losses: list[float] = field(default_factory=list)
    held_out_losses: list[float] | None = None
    scores: list[float] | None = None
    best_loss: float | None = None
    best_score: float | None = None
    epochs: int = 0
    samples: int = 0
    waited: int = 0
    best_figure: float = -math.inf

    def begin(self, held_out: bool, deciding: bool) -> None:
        """Begin a fit in which rows are held out, or even decide which epoch is kept."""
        self.epochs = 0
        if held_out and self.held_out_losses is None:
            self.held_out_losses = []
        if deciding and self.scores is None:
            self.scores, self.best_score, self.best_loss, self.best_figure = [], -math.inf, None, -math.inf
        elif not deciding and self.best_loss is None:
            self.scores, self.best_score, self.best_loss = None, None, math.inf

    def start_from(self, score: float, loss: float, by_loss: bool) -> None:
        """Let the weights that a fit goes on from be the best, by their score or loss on the rows held out now."""
        self.best_score, self.best_figure = score, -loss if by_loss else score

    def note(self, loss: float, held_out_loss: float | None) -> None:
        """Write an epoch's errors down."""
        self.epochs += 1
        self.loss = loss
        self.losses.append(loss)
        if held_out_loss is not None and self.held_out_losses is not None:
            self.held_out_losses.append(held_out_loss)


class Penalty:
    """alpha / 2 sum W^2 / sum(w) over a batch of weights w, for every dense layer's W."""

    def __init__(self, model: Sequential, alpha: float) -> None:
        self.alpha = alpha
        self.pairs = [(layer.W.reshape(-1), layer.dW.reshape(-1)) for layer in model.dense_layers] if alpha else []
        self.add_scaled, self.dot = products(model.dtype).add_scaled, products(model.dtype).dot

    def add(self, total: float) -> float:
        """Add the derivative alpha W / sum(w) to the gradients; the penalty itself."""
        c, square = self.alpha / total, 0.0
        for w, dw in self.pairs:
            self.add_scaled(w, dw, c)
            square += self.dot(w, w)
        return 0.5 * c * square


class Follow(Callback):
    """Adds the penalty, keeps the record, changes the rate, stops, and keeps the best epoch's weights.

    Parameters
    ----------
    settings : Settings
    record : Record
        Written to.
    error_scale : float
        What the error is multiplied by in the record.
    held_out : HeldOut or None
        Rows whose score or loss decides which epoch is best, with early stopping.
    """

    def __init__(self, settings: Settings, record: Record, error_scale: float, held_out: HeldOut | None) -> None:
        self.settings, self.record, self.error_scale, self.held_out = settings, record, error_scale, held_out
        self.total, self.rows = 0.0, 0

    def on_fit_begin(self, run: Run) -> None:
        self.penalty = Penalty(run.model, self.settings.alpha)
        last = self.settings.recipe is not None
        run.keeps_outputs |= self.held_out is not None
        self.best = None if self.held_out is None else BestWeights(run.model, self.record.best_figure, last)

    def on_fit_end(self, run: Run) -> None:
        if self.best is not None:
            self.best.restore(run.model)

    def on_epoch_begin(self, run: Run) -> None:
        self.total, self.rows = 0.0, 0

    def on_gradients(self, run: Run) -> None:
        assert run.batch is not None
        count = len(run.batch[1])
        self.rows += count
        if weight := run.trainer.loss.total_weight:
            self.total += (run.batch_error * self.error_scale + self.penalty.add(weight)) * count

    def on_epoch_end(self, run: Run) -> None:
        record, settings = self.record, self.settings
        record.samples += self.rows
        record.note(self.total / self.rows, run.figures.get("val_loss"))
        if settings.verbose:
            print(f"Iteration {record.epochs}, loss = {record.loss:.8f}")
        if self.held_out is not None:
            assert run.outputs is not None
            score, loss = self.held_out.judge(run.outputs, run.figures["val_loss"])
            if math.isnan(score) and math.isfinite(loss) and not settings.by_loss:
                raise ValueError(
                    f"the score of the {len(self.held_out.rows)} held-out rows is nan, so that no epoch is best: hold "
                    "out more rows, of every class, or choose another scoring."
                )
            self._judge_score(score, -loss if settings.by_loss else score, run.model)
        else:
            self._judge_loss()
        optimizer = run.trainer.optimizer
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            optimizer.learning_rate = settings.learning_rate_init / (record.samples + 1) ** settings.power_t
        if record.waited > settings.n_iter_no_change:
            self._stop_or_slow_down(run, optimizer)

    def note_divergence(self) -> None:
        """Write down an epoch whose error was not finite."""
        self.record.note(math.nan, math.nan)
        self._judge_score(math.nan, math.nan, None)

    def _judge_score(self, score: float, figure: float, model: Sequential | None) -> None:
        """Count epochs whose figure is no better by `tol`, and keep the best weights.

        The figure is the score; where classes have weights, it is minus the held-out loss: a score made of few heavy
        rows goes in steps.
        """
        record, settings = self.record, self.settings
        assert record.scores is not None
        record.scores.append(score)
        if settings.verbose:
            print(f"Validation score: {score:f}")
        record.waited = record.waited + 1 if figure < record.best_figure + settings.tol else 0
        if model is not None and self.best is not None and self.best.offer(model, figure, record.epochs):
            record.best_figure, record.best_score = figure, score

    def _judge_loss(self) -> None:
        """Count epochs whose loss is no lower by `tol`."""
        record = self.record
        assert record.best_loss is not None
        behind = record.loss > record.best_loss - self.settings.tol
        record.waited = record.waited + 1 if behind else 0
        record.best_loss = min(record.best_loss, record.loss)

    def _stop_or_slow_down(self, run: Run, optimizer: Optimizer) -> None:
        """End the run, or divide the rate by 5 where it adapts."""
        settings = self.settings
        what = "Training loss" if self.held_out is None else "Validation score"
        message = (
            f"{what} did not improve more than tol={settings.tol:f} for {settings.n_iter_no_change} consecutive epochs."
        )
        if settings.solver == "sgd" and settings.learning_rate == "adaptive" and optimizer.rate > 1e-6:
            optimizer.learning_rate = optimizer.rate / 5
            self.record.waited = 0
            message += f" Setting learning rate to {optimizer.rate:f}"
        else:
            run.stop(message)
            message += " Learning rate too small. Stopping." if settings.learning_rate == "adaptive" else " Stopping."
        if settings.verbose:
            print(message)

"""The progress bar: tqdm on a terminal, updated text in a notebook, nothing elsewhere."""

from __future__ import annotations

import html
import sys
from typing import Any, ClassVar

from densenet.training.hooks import Callback
from densenet.training.run import Run


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    made = shell.get_ipython() if shell is not None else None
    return made is not None and type(made).__name__ == "ZMQInteractiveShell"


def progress_bar(progress: bool | None) -> Callback | None:
    """The bar for `fit(progress=...)`: by default only when output is interactive.

    Raises
    ------
    TypeError
        If `progress` is not True, False or None.
    """
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"fit expects progress to be True, False or None, got {progress!r}.")
    if progress is False:
        return None
    if in_notebook():
        return _NotebookBar()
    return _TerminalBar() if progress or sys.stderr.isatty() else None


def _figures(run: Run) -> dict[str, str]:
    return {name: f"{value:.4g}" for name, value in run.figures.items() if name != "seconds"}


class _TerminalBar(Callback):
    observes: ClassVar[bool] = True

    def on_fit_begin(self, run: Run) -> None:
        from tqdm import tqdm

        self.bar: Any = tqdm(total=run.epochs, initial=len(run.history), unit="epoch", dynamic_ncols=True, leave=True)

    def on_epoch_end(self, run: Run) -> None:
        self.bar.set_postfix(_figures(run), refresh=False)
        self.bar.update()

    def on_fit_end(self, run: Run) -> None:
        self.bar.close()


class _NotebookBar(Callback):
    observes: ClassVar[bool] = True

    def on_fit_begin(self, run: Run) -> None:
        from IPython import display

        tools: Any = display
        self.make = tools.HTML
        self.handle: Any = tools.display(tools.HTML("<pre>epoch 0</pre>"), display_id=True)

    def on_epoch_end(self, run: Run) -> None:
        share = run.epoch / max(1, run.epochs)
        figures = "  ".join(f"{name} {value}" for name, value in _figures(run).items())
        text = html.escape(f"epoch {run.epoch}/{run.epochs}  {figures}")
        self.handle.update(
            self.make(
                '<div style="width:20em;border:1px solid #999"><div style="background:#4477aa;height:0.5em;'
                f'width:{100 * share:.0f}%"></div></div><pre>{text}</pre>'
            )
        )

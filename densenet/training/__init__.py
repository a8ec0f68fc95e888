"""Training: arguments in, mini-batches through, a record out.

The way of x from `Trainer.fit` to `Dense.backward`:

1. `trainer.py`, `Trainer.fit` takes x, y and the arguments.
2. `data.py`, `fit_data` checks and converts them once; what comes out is `ArrayBatches` or `StreamBatches`.
3. `trainer.py` makes a `Step` (model, loss, optimizer), a `Run` (position and figures) and `Hooks` (callbacks).
4. `loop.py`, `train` goes through epochs; for each the rows are shuffled.
5. `data.py`, `ArrayBatches.epoch` gathers the rows of a mini-batch into a working array.
6. `loop.py`, `mini_batches` hands it to `Step.gradient`, which calls `error_and_gradient` (`densenet/gradient.py`).
7. `Sequential.run_forward` takes x through the layers: `Dense.forward` computes Z = X W + 1 b^T and keeps X.
8. `Loss.error` compares the prediction with y; `Loss.delta` gives dE/dprediction.
9. `Sequential.run_backward` takes delta back: `Dense.backward` fills dW = X^T D, db = D^T 1 and gives D W^T.
10. `loop.py` adds the error to the sums of the `Run`; `Step.update` makes w_new = w_old - alpha dE/dw.

Where several processes train one model, `reducer.py` stands between 9 and 10: it makes their gradients one. What else
they tell each other is in `ranks.py`.
"""

from __future__ import annotations

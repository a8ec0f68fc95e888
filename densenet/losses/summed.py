"""Two losses of scikit-learn's, which sum over the outputs where the project's means are taken.

The estimators train with them, so that files may hold them; `densenet.losses.get` does not name them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from densenet._types import Array
from densenet.losses.binary import SigmoidCrossEntropy
from densenet.losses.likelihood import PoissonNLL


class SummedSigmoidCrossEntropy(SigmoidCrossEntropy):
    """Cross-entropy of independent yes-or-no outputs, summed over the outputs as scikit-learn does."""

    sums_outputs: ClassVar[bool] = True


class HalfPoissonDeviance(PoissonNLL):
    """Half of the Poisson deviance, summed over the outputs: l = t log t - t log p - t + p with p = exp(z).

    It is `PoissonNLL` plus t log t - t, which makes a perfect prediction cost 0 and leaves the derivative as it is.
    """

    sums_outputs: ClassVar[bool] = True

    def value(self, prediction: Array, target: Array, out: Array) -> None:
        PoissonNLL.value(self, prediction, target, out)
        out += target * np.log(target, out=np.zeros_like(target), where=target > 0)  # 0 log 0 = 0
        out -= target

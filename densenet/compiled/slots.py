"""The numbers of a step that kernels get: positions in `s`, the integers, and in `r`, the floats."""

from __future__ import annotations

WIDTH = 16
"""Words of an instruction: the kernel's address, its constants' address, and 14 words of its own, `a`."""

ROWS, FIRST, RELATIVE, STEPS, WHOLE = range(5)
"""Rows of the mini-batch, or of a chain's share in it; the first of them in the epoch, and in the slice; updates done
by the optimizer; rows of the whole mini-batch."""
CODE, N_GRADIENT, N_UPDATE = range(8, 11)
"""Address of the instructions; how many make a gradient, and after them an update."""
BATCH, LAST, SIZE, TOTAL_ROWS, SLICE = range(11, 16)
"""The mini-batch; where the slice ends; rows of a mini-batch and of the epoch; the slice's first row."""
COUNT, SEEN, UPDATES, TABLE, STEPPED, DIVERGED = range(16, 22)
"""Mini-batches of an update, and those gathered for it; updates in the slice, and the address of their rates, factors
and eps; whether the last mini-batch ended with one; whether the error was not finite."""

ERROR, WEIGHT, RATE, FACTOR, EPSILON = range(5)
"""The mini-batch's error and weight; the update's learning rate, factor and eps, with their bias corrections."""
GATHERED, TOTAL, WEIGHTS = range(8, 11)
"""Weight of the gathered mini-batches; the epoch's sums of weighted errors and of weights."""

"""The tests of fits, callbacks and checkpoints again, with kernels wherever there are any."""

from __future__ import annotations

import pytest
from test_callbacks import *  # noqa: F403
from test_checkpoint import *  # noqa: F403
from test_trainer import *  # noqa: F403

from densenet.training import slices

pytest.importorskip("numba", reason="kernels need the extra [fast]")

NUMPY_ALONE = (  # they compare two fits bit for bit, of which one has to run in the NumPy lines
    "test_fit_equals_steps_by_hand_bit_for_bit",
    "test_batch_size_beyond_n_is_one_batch",
    "test_a_stream_of_batches_equals_arrays",
    "test_a_memory_map_equals_the_array",
)
for name in NUMPY_ALONE:
    del globals()[name]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(slices, "WORTHWHILE", 0.0)

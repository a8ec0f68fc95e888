"""A memory map larger than the memory one wants to spend trains batch by batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import numpy as np
import densenet as dn

def own():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

rows, columns = 400_000, 1000
with open(sys.argv[1], "wb") as file:
    file.truncate(rows * columns * 4)
x = np.memmap(sys.argv[1], dtype=np.float32, mode="r", shape=(rows, columns))
y = np.zeros(rows, np.float32)
assert x.nbytes > 1.5e9
largest = [own()]
watch = dn.LambdaCallback(on_batch_end=lambda run: largest.append(own()) if run.step % 20 == 0 else None)
model = dn.mlp([columns, 8, 1], seed=0)
dn.Trainer(model, "mse", "sgd").fit(x, y, epochs=1, batch_size=2000, callbacks=[watch], validation_split=SPLIT)
largest.append(own())
model.predict(x[:200_000])
largest.append(own())
print(max(largest))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="own memory is read from /proc")
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_one_and_a_half_gigabytes_in_less_than_300_mib(tmp_path, share):
    path = tmp_path / "x.bin"
    try:
        result = subprocess.run(
            [sys.executable, "-c", SCRIPT.replace("SPLIT", str(share)), str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.unlink(missing_ok=True)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 300

"""The blanks of 05 Batch size, filled in."""

updates_an_epoch = -(-1437 // 64)
scatter = 3 / 6
steps_and_samples = (125, 25_000)

"""The blanks of 12 Many networks, many machines, filled in."""

of_ensemble = of_members.mean(axis=0)
of_both = (20 * first + 12 * second) / 32
updates_an_epoch = 32_000 // 64

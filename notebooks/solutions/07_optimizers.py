"""The blanks of 07 Optimizers, filled in."""

second_step = -3e-4 * (0.9 * g0 + g1)
first_step = -0.05 * np.sign(g0)
rate = 0.1 * (1 + np.cos(np.pi * 250 / 1000)) / 2

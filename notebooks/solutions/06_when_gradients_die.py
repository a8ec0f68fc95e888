"""The blanks of 06 When gradients die, filled in."""

together = factors.prod()
multiplier = np.sqrt(np.mean((1 - a3**2) ** 2))
with_shortcut = 1 + 3 * f(6) * (1 - f(6))

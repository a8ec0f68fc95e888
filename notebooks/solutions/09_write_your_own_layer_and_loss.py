"""The blanks of 09 Write your own layer and loss, filled in."""

bent_slope = 1 + points / (2 * np.sqrt(points**2 + 1))
dE_dc = D.sum(axis=0)
dE_dX = D * g
after_step = w - 0.01 * np.sign(g)

"""The blanks of 10 A picture as a function, filled in."""

parameters = 2 * (64 * 64 + 64) + 64 * 3 + 3
typical = 10 ** (-db / 20)
by_u = w1 * np.cos(w1 * u0 + w2 * v0 + b)

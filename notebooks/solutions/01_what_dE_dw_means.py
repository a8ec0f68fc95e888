"""The blanks of 01 What dE/dw means, filled in."""

dE_dw = (y_hat - y_one) * y_hat * (1 - y_hat) * x_one
w_after = w_one - 0.5 * slope_at_w
promised = -0.5 * slope_at_w**2
contribution = factors_of_path.prod()

"""The blanks of 01 What dE/dw means, filled in."""

E_promised = E_now - alpha * last.tangent**2
dE_db1 = dE_dz1
other = [a[0][0], slope[1][2], w[2][2, 1], slope[2][1], w[3][1, 0], slope[3][0], w[4][0, 0], dE_dz4]

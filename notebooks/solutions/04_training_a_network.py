"""The blanks of 04 Training a network, filled in."""

W_new = W_old - alpha * layer.dW
updates = 150 * int(np.ceil(rows / 32))
accuracy = np.mean(guess == y[test])

"""The blanks of 03 Find my mistake, filled in."""


def backward_neuron(W, b, x, y):
    z = x @ W[0] + b[0]
    y_hat = 1 / (1 + np.exp(-z))

    dE_dz = (y_hat - y) * y_hat * (1 - y_hat)
    dE_dW = x.T @ dE_dz
    dE_db = dE_dz.sum(axis=0)

    return [(dE_dW, dE_db)]


def backward_layer(W, b, x, y):
    z = x @ W[0] + b[0]
    y_hat = 1 / (1 + np.exp(-z))

    dE_dz = (y_hat - y) * y_hat * (1 - y_hat)
    dE_dW = x.T @ dE_dz
    dE_db = dE_dz.sum(axis=0)

    return [(dE_dW, dE_db)]


def backward_layers(W, b, x, y):
    a1 = np.tanh(x @ W[0] + b[0])
    y_hat = 1 / (1 + np.exp(-(a1 @ W[1] + b[1])))

    dE_dz2 = (y_hat - y) * y_hat * (1 - y_hat)
    dE_dW2 = a1.T @ dE_dz2
    dE_db2 = dE_dz2.sum(axis=0)

    dE_da1 = dE_dz2 @ W[1].T
    dE_dz1 = dE_da1 * (1 - a1**2)
    dE_dW1 = x.T @ dE_dz1
    dE_db1 = dE_dz1.sum(axis=0)

    return [(dE_dW1, dE_db1), (dE_dW2, dE_db2)]


def backward_batch(W, b, x, y):
    n = len(x)
    a1 = np.tanh(x @ W[0] + b[0])
    y_hat = 1 / (1 + np.exp(-(a1 @ W[1] + b[1])))

    dE_dz2 = (y_hat - y) / n * y_hat * (1 - y_hat)
    dE_dW2 = a1.T @ dE_dz2
    dE_db2 = dE_dz2.sum(axis=0)

    dE_da1 = dE_dz2 @ W[1].T
    dE_dz1 = dE_da1 * (1 - a1**2)
    dE_dW1 = x.T @ dE_dz1
    dE_db1 = dE_dz1.sum(axis=0)

    return [(dE_dW1, dE_db1), (dE_dW2, dE_db2)]


def backward_softmax(W, b, x, y):
    n = len(x)
    a1 = np.tanh(x @ W[0] + b[0])
    powers = np.exp(a1 @ W[1] + b[1])
    p = powers / powers.sum(axis=1, keepdims=True)

    dE_dz2 = (p - y) / n
    dE_dW2 = a1.T @ dE_dz2
    dE_db2 = dE_dz2.sum(axis=0)

    dE_da1 = dE_dz2 @ W[1].T
    dE_dz1 = dE_da1 * (1 - a1**2)
    dE_dW1 = x.T @ dE_dz1
    dE_db1 = dE_dz1.sum(axis=0)

    return [(dE_dW1, dE_db1), (dE_dW2, dE_db2)]

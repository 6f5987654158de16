# ruff: noqa: D101, D103 - the code of somebody else
"""NumPy code as people write it, right, for the tests to break."""

import numpy as np


class Linear:
    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_in, n_out)  # noqa: NPY002 - as people write it
        self.b = np.zeros((1, n_out))

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dy):
        self.dW = self.x.T @ dy
        self.db = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


class ReLU:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class LayerNorm:
    def __init__(self, d, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps

    def statistics(self, x):
        return x.mean(-1, keepdims=True), x.var(-1, keepdims=True)

    def forward(self, x):
        mean, var = self.statistics(x)
        self.rstd = 1 / np.sqrt(var + self.eps)
        self.x_hat = (x - mean) * self.rstd
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(0), dy.sum(0)
        d = dy * self.gamma
        middle = self.x_hat * (d * self.x_hat).mean(-1, keepdims=True)
        return self.rstd * (d - d.mean(-1, keepdims=True) - middle)


class BatchNorm:
    def __init__(self, c, momentum=0.1, eps=1e-5):
        self.gamma, self.beta = np.ones(c), np.zeros(c)
        self.running_mean, self.running_var = np.zeros(c), np.ones(c)
        self.momentum, self.eps = momentum, eps

    def track(self, x, mean, var):
        m = self.momentum
        self.running_mean = (1 - m) * self.running_mean + m * mean
        self.running_var = (1 - m) * self.running_var + m * x.var(0, ddof=1)

    def forward(self, x, training=True):
        if training:
            mean, var = x.mean(0), x.var(0)
            self.track(x, mean, var)
        else:
            mean, var = self.running_mean, self.running_var
        return self.gamma * (x - mean) / np.sqrt(var + self.eps) + self.beta


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(-1, keepdims=True))


class CrossEntropy:
    def forward(self, logits, y):
        z = logits - logits.max(-1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
        self.p, self.y = np.exp(log_p), y
        return -log_p[np.arange(len(y)), y].mean()

    def backward(self):
        d = self.p.copy()
        d[np.arange(len(self.y)), self.y] -= 1
        return d / len(self.y)


class MSE:
    def forward(self, p, t):
        self.d = p - t
        return (self.d**2).mean()

    def backward(self):
        return 2 * self.d / self.d.size


class Conv:
    def __init__(self, c_in, c_out, k):
        self.W = np.random.randn(c_out, c_in, k, k)  # noqa: NPY002
        self.b, self.k = np.zeros(c_out), k

    def kernel(self):
        return self.W

    def forward(self, x):
        windows = np.lib.stride_tricks.sliding_window_view(x, (self.k, self.k), axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, self.kernel()) + self.b[:, None, None]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class LSTM:
    order = "ifgo"

    def __init__(self, n_in, n_h):
        self.W_ih, self.W_hh = np.zeros((4 * n_h, n_in)), np.zeros((4 * n_h, n_h))
        self.b_ih, self.b_hh, self.n = np.zeros(4 * n_h), np.zeros(4 * n_h), n_h

    def forward(self, x):
        h = c = np.zeros((x.shape[1], self.n))
        out = []
        for row in x:
            z = row @ self.W_ih.T + h @ self.W_hh.T + self.b_ih + self.b_hh
            g = dict(zip(self.order, np.split(z, 4, 1)))
            c = sigmoid(g["f"]) * c + sigmoid(g["i"]) * np.tanh(g["g"])
            h = sigmoid(g["o"]) * np.tanh(c)
            out.append(h)
        return np.stack(out)


def attention(q, k, v):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    return softmax(scores) @ v


class Net:
    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy):
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy


class Adam:
    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps, self.kept = lr, beta1, beta2, eps, {}

    def update(self, w, g, key):
        m, v, t = self.kept.get(key, (0, 0, 0))
        m, v, t = (
            self.beta1 * m + (1 - self.beta1) * g,
            self.beta2 * v + (1 - self.beta2) * g**2,
            t + 1,
        )
        self.kept[key] = m, v, t
        return w - self.change(m, v, t)

    def change(self, m, v, t):
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        return self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


class SGD:
    def __init__(self, params, lr=0.01, momentum=0.9):
        self.params, self.lr, self.momentum = params, lr, momentum
        self.v = [np.zeros_like(p.data) for p in params]

    def step(self):
        for p, v in zip(self.params, self.v):
            if p.grad is not None:
                v *= self.momentum
                v += p.grad
                p.data -= self.lr * v

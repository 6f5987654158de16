# ruff: noqa: D102, NPY002, UP
# mypy: ignore-errors
# fmt: off
"""The guide's classes mended, in its own style, so that what differs from print is what mends."""

import numpy as np

from examples import guide_printed as printed


class LinearOutput(printed.DeepMLP):
    """A network for regression: no activation after the last layer."""

    def forward(self, X):
        activations = [X]
        for i in range(len(self.weights)):
            z = np.dot(activations[-1], self.weights[i]) + self.biases[i]
            last = i == len(self.weights) - 1
            activations.append(z if last else self.relu(z))
        return activations

    def backward(self, activations, y):
        m = y.shape[0]
        gradients_w = []
        gradients_b = []

        # Output layer
        delta = activations[-1] - y

        # Backpropagate
        for i in range(len(self.weights) - 1, -1, -1):
            grad_w = np.dot(activations[i].T, delta) / m
            grad_b = np.sum(delta, axis=0, keepdims=True) / m
            gradients_w.insert(0, grad_w)
            gradients_b.insert(0, grad_b)

            if i > 0:
                delta = np.dot(delta, self.weights[i].T)
                delta = delta * self.relu_derivative(activations[i])

        return gradients_w, gradients_b


class DeepMLP(LinearOutput):
    """The gradient of the loss that is printed: the mean over all elements."""

    def backward(self, activations, y):
        m = y.shape[0]
        gradients_w = []
        gradients_b = []

        # Output layer
        delta = 2 * (activations[-1] - y) / y.shape[1]

        # Backpropagate
        for i in range(len(self.weights) - 1, -1, -1):
            grad_w = np.dot(activations[i].T, delta) / m
            grad_b = np.sum(delta, axis=0, keepdims=True) / m
            gradients_w.insert(0, grad_w)
            gradients_b.insert(0, grad_b)

            if i > 0:
                delta = np.dot(delta, self.weights[i].T)
                delta = delta * self.relu_derivative(activations[i])

        return gradients_w, gradients_b


class ResidualBlock(printed.ResidualBlock):
    """A projection on the skip path where the widths differ."""

    def __init__(self, input_dim, hidden_dim, output_dim):
        self.W1 = np.random.randn(input_dim, hidden_dim) * 0.1
        self.b1 = np.zeros((1, hidden_dim))
        self.W2 = np.random.randn(hidden_dim, output_dim) * 0.1
        self.b2 = np.zeros((1, output_dim))
        self.W_skip = np.random.randn(input_dim, output_dim) * 0.1

    def forward(self, X):
        # Main path
        z1 = X @ self.W1 + self.b1
        a1 = np.maximum(0, z1)  # ReLU
        z2 = a1 @ self.W2 + self.b2

        # Residual connection, projected
        return z2 + X @ self.W_skip


class AdamOptimizer(printed.AdamOptimizer):
    """A step count for every key."""

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.lr = learning_rate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.m = {}  # First moment
        self.v = {}  # Second moment
        self.t = {}   # Time step

    def update(self, weights, gradients, key):
        """Update weights using Adam"""
        if key not in self.m:
            self.m[key] = np.zeros_like(weights)
            self.v[key] = np.zeros_like(weights)

        self.t[key] = self.t.get(key, 0) + 1

        # Update biased first moment estimate
        self.m[key] = self.beta1 * self.m[key] + (1 - self.beta1) * gradients

        # Update biased second raw moment estimate
        self.v[key] = self.beta2 * self.v[key] + (1 - self.beta2) * (gradients ** 2)

        # Compute bias-corrected first moment estimate
        m_hat = self.m[key] / (1 - self.beta1 ** self.t[key])

        # Compute bias-corrected second raw moment estimate
        v_hat = self.v[key] / (1 - self.beta2 ** self.t[key])

        # Update weights
        weights -= self.lr * m_hat / (np.sqrt(v_hat) + self.epsilon)

        return weights


class LearningRateScheduler(printed.LearningRateScheduler):
    """Two decays under the names that the field has for them."""

    def __init__(self, initial_lr=0.01, decay_type='exponential', decay_rate=0.95, total=30):
        self.initial_lr = initial_lr
        self.decay_type = decay_type
        self.decay_rate = decay_rate
        self.total = total
        self.epoch = 0

    def get_lr(self):
        """Get current learning rate"""
        if self.decay_type == 'exponential':
            return self.initial_lr * (self.decay_rate ** self.epoch)
        elif self.decay_type == 'step':
            return self.initial_lr * (self.decay_rate ** (self.epoch // 10))
        elif self.decay_type == 'polynomial':
            return self.initial_lr * (1 - min(self.epoch, self.total) / self.total)
        elif self.decay_type == 'inverse time':
            return self.initial_lr / (1 + self.epoch * self.decay_rate)
        else:
            return self.initial_lr


def l2_regularization(weights, lambda_reg=0.01):
    """L2 regularization (Ridge)"""
    return lambda_reg / 2 * np.sum(weights ** 2)


def l2_gradient(dloss, weights, lambda_reg=0.01):
    """The line that adds to the guide's gradient, by itself: right for lambda/2 * sum(w^2)."""
    return dloss * lambda_reg * weights


def dropout(X, dropout_rate=0.5, training=True):
    """Dropout regularization"""
    if not training:
        return X
    if dropout_rate == 1:
        return np.zeros_like(X)

    # Create dropout mask
    mask = np.random.binomial(1, 1 - dropout_rate, size=X.shape) / (1 - dropout_rate)
    return X * mask


class BatchNormalization(printed.BatchNormalization):
    """torch's conventions: what momentum weighs, how the statistics start, which variance."""

    def __init__(self, num_features, momentum=0.1, epsilon=1e-5):
        self.momentum = momentum
        self.epsilon = epsilon
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)
        self.gamma = np.ones(num_features)  # Scale parameter
        self.beta = np.zeros(num_features)   # Shift parameter

    def forward(self, X, training=True):
        """Forward pass"""
        if training:
            # Compute batch statistics
            mean = np.mean(X, axis=0, keepdims=True)
            var = np.var(X, axis=0, keepdims=True)

            # Update running statistics
            unbiased = np.var(X, axis=0, ddof=1)
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean[0]
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * unbiased
        else:
            # Use running statistics during inference
            mean = self.running_mean
            var = self.running_var

        # Normalize
        self.rstd = 1 / np.sqrt(var + self.epsilon)
        self.X_norm = (X - mean) * self.rstd
        self.training = training

        # Scale and shift
        out = self.gamma * self.X_norm + self.beta

        return out

    def backward(self, dout):
        """Backward pass"""
        self.dgamma = np.sum(dout * self.X_norm, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        d = dout * self.gamma
        if self.training:  # mean and var moved with X
            d = d - d.mean(axis=0) - self.X_norm * (d * self.X_norm).mean(axis=0)
        return d * self.rstd


def gradient_check(model, X, y, epsilon=1e-6):
    """Numerical gradient checking, of weights and biases, by relative error"""
    grad_w, grad_b = model.backward(model.forward(X), y)
    for name, params, grads in (
        ("weights", model.weights, grad_w),
        ("biases", model.biases, grad_b),
    ):
        for i, (w, grad) in enumerate(zip(params, grads)):
            num_grad = np.zeros_like(w)
            for j in range(w.size):
                kept = w.flat[j]
                w.flat[j] = kept + epsilon
                above = np.mean((model.forward(X)[-1] - y) ** 2)
                w.flat[j] = kept - epsilon
                below = np.mean((model.forward(X)[-1] - y) ** 2)
                w.flat[j] = kept
                num_grad.flat[j] = (above - below) / (2 * epsilon)
            error = np.linalg.norm(grad - num_grad) / np.linalg.norm(num_grad)
            print(f"Layer {i} {name}: relative error {error:.0e}")

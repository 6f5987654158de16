# %% [markdown]
# # Stage 0: the guide's code, as it is printed
#
# A network, an optimizer and a decay, from scratch. They run, and they learn. Before any of it is
# replaced, hold it against torch: what differs now would otherwise be blamed on the move.

# %%
import numpy as np
import torch

from parity_tests import compare


# %%
class DeepMLP:
    """The guide's network, without its `fit`."""

    def __init__(self, layers, learning_rate=0.01):
        self.learning_rate = learning_rate
        self.weights, self.biases = [], []
        for i in range(len(layers) - 1):
            std = np.sqrt(2.0 / layers[i])
            self.weights.append(np.random.randn(layers[i], layers[i + 1]) * std)
            self.biases.append(np.zeros((1, layers[i + 1])))

    def relu(self, x):
        return np.maximum(0, x)

    def relu_derivative(self, x):
        return (x > 0).astype(float)

    def forward(self, X):
        activations = [X]
        for i in range(len(self.weights)):
            z = np.dot(activations[-1], self.weights[i]) + self.biases[i]
            activations.append(self.relu(z))
        return activations

    def backward(self, activations, y):
        m = y.shape[0]
        gradients_w, gradients_b = [], []
        error = activations[-1] - y
        delta = error * self.relu_derivative(activations[-1])
        for i in range(len(self.weights) - 1, -1, -1):
            gradients_w.insert(0, np.dot(activations[i].T, delta) / m)
            gradients_b.insert(0, np.sum(delta, axis=0, keepdims=True) / m)
            if i > 0:
                delta = np.dot(delta, self.weights[i].T)
                delta = delta * self.relu_derivative(activations[i])
        return gradients_w, gradients_b


class AdamOptimizer:
    """The guide's Adam."""

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.learning_rate, self.beta1 = learning_rate, beta1
        self.beta2, self.epsilon = beta2, epsilon
        self.m, self.v, self.t = {}, {}, 0

    def update(self, weights, gradient, key):
        if key not in self.m:
            self.m[key] = np.zeros_like(weights)
            self.v[key] = np.zeros_like(weights)
        self.t += 1
        self.m[key] = self.beta1 * self.m[key] + (1 - self.beta1) * gradient
        self.v[key] = self.beta2 * self.v[key] + (1 - self.beta2) * (gradient**2)
        m_hat = self.m[key] / (1 - self.beta1**self.t)
        v_hat = self.v[key] / (1 - self.beta2**self.t)
        return weights - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


# %% [markdown]
# The network's gradient belongs to another loss than the mean squared error it prints: it is
# n_out/2 times as large.

# %%
torch_network = torch.nn.Sequential(
    torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3), torch.nn.ReLU()
)
network = compare(
    DeepMLP, torch_network, numpy_args=([4, 6, 3],), inputs=[(5, 4)], loss=torch.nn.MSELoss()
)
print(network.text())

# %% [markdown]
# Its Adam counts steps by calls. With one parameter it is right, with two its bias correction
# is off from the second on.

# %%
optimizer = compare(AdamOptimizer, torch.optim.Adam)
print(optimizer.text())

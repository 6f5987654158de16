# %% [markdown]
# # Stage 2: the data
#
# torch's loader in the place of ours: from the same seed it gives the same batches. `from_numpy`
# and `.numpy()` share memory with the arrays, so nothing is copied and no digit is lost.

# %%
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from examples.road import start

EPOCHS, BATCH, RATE, DECAY = 12, 32, 0.01, 0.1


# %%
class DeepMLP:
    """The guide's network: the gradient of the mean over all numbers, no ReLU at the end."""

    def __init__(self, layers):
        self.weights, self.biases = [], []
        for i in range(len(layers) - 1):
            std = np.sqrt(2.0 / layers[i])
            self.weights.append(np.random.randn(layers[i], layers[i + 1]) * std)
            self.biases.append(np.zeros((1, layers[i + 1])))

    def forward(self, X):
        activations = [X]
        for i, (w, b) in enumerate(zip(self.weights, self.biases)):
            z = np.dot(activations[-1], w) + b
            activations.append(z if i == len(self.weights) - 1 else np.maximum(0, z))
        return activations

    def backward(self, activations, y):
        gradients_w, gradients_b = [], []
        delta = 2 * (activations[-1] - y) / y.size
        for i in range(len(self.weights) - 1, -1, -1):
            gradients_w.insert(0, np.dot(activations[i].T, delta))
            gradients_b.insert(0, np.sum(delta, axis=0, keepdims=True))
            if i > 0:
                delta = np.dot(delta, self.weights[i].T) * (activations[i] > 0)
        return gradients_w, gradients_b


class Adam:
    """The guide's Adam, counting the steps of each parameter for itself."""

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.learning_rate, self.beta1 = learning_rate, beta1
        self.beta2, self.epsilon = beta2, epsilon
        self.m, self.v, self.t = {}, {}, {}

    def update(self, weights, gradient, key):
        if key not in self.m:
            self.m[key] = np.zeros_like(weights)
            self.v[key] = np.zeros_like(weights)
            self.t[key] = 0
        self.t[key] += 1
        self.m[key] = self.beta1 * self.m[key] + (1 - self.beta1) * gradient
        self.v[key] = self.beta2 * self.v[key] + (1 - self.beta2) * (gradient**2)
        m_hat = self.m[key] / (1 - self.beta1 ** self.t[key])
        v_hat = self.v[key] / (1 - self.beta2 ** self.t[key])
        return weights - self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)


# %%
x, y, x_test, labels = start.digits()
data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
generator = torch.Generator().manual_seed(0)
loader = DataLoader(data, batch_size=BATCH, shuffle=True, generator=generator)
model = DeepMLP(start.LAYERS)
model.weights, model.biases = start.first_weights()
optimizer = Adam(learning_rate=RATE)

# %%
losses = []
for epoch in range(EPOCHS):
    optimizer.learning_rate = RATE / (1 + DECAY * epoch)
    for batch in loader:
        batch_x, batch_y = (tensor.numpy() for tensor in batch)
        activations = model.forward(batch_x)
        losses.append(np.mean((activations[-1] - batch_y) ** 2))
        gradients_w, gradients_b = model.backward(activations, batch_y)
        for i in range(len(model.weights)):
            model.weights[i] = optimizer.update(model.weights[i], gradients_w[i], f"w{i}")
            model.biases[i] = optimizer.update(model.biases[i], gradients_b[i], f"b{i}")

# %%
predicted = model.forward(x_test)[-1].argmax(axis=1)
print(f"{len(losses)} steps, loss {losses[-1]:.6f}, {np.mean(predicted == labels):.1%} right")

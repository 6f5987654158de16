# %% [markdown]
# # Stage 3: the layers
#
# `nn.Sequential` in the place of the class. torch keeps a weight as (out, in), so the first ones go
# in transposed. The gradient of the loss still comes from our own line: it is handed to autograd at
# the output. Our Adam writes into the tensors' own memory.

# %%
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from examples.road import start

EPOCHS, BATCH, RATE, DECAY = 12, 32, 0.01, 0.1


# %%
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
wide, hidden, classes = start.LAYERS
model = nn.Sequential(nn.Linear(wide, hidden), nn.ReLU(), nn.Linear(hidden, classes)).double()
with torch.no_grad():
    for layer, w, b in zip([model[0], model[2]], *start.first_weights()):
        layer.weight.copy_(torch.from_numpy(w.T))
        layer.bias.copy_(torch.from_numpy(b[0]))
optimizer = Adam(learning_rate=RATE)

# %%
losses = []
for epoch in range(EPOCHS):
    optimizer.learning_rate = RATE / (1 + DECAY * epoch)
    for batch_x, batch_y in loader:
        output = model(batch_x)
        error = output.detach() - batch_y
        losses.append(float((error**2).mean()))
        model.zero_grad()
        output.backward(2 * error / error.numel())
        for name, p in model.named_parameters():
            values = p.detach().numpy()
            values[...] = optimizer.update(values, p.grad.numpy(), name)

# %%
with torch.no_grad():
    predicted = model(torch.from_numpy(x_test)).argmax(dim=1).numpy()
print(f"{len(losses)} steps, loss {losses[-1]:.6f}, {np.mean(predicted == labels):.1%} right")

# %% [markdown]
# # One network, two libraries
#
# The same lines build and train a network in NumPy and in PyTorch; two of them differ. From one
# seed the weights are equal to the bit, and the losses stay equal to the last digits of float64.

# %%
import numpy as np
import torch

import numpy_impl
from examples.datasets import load_splits

splits = load_splits()
x = splits.x_train[:256].reshape(-1, 64).astype(np.float64)
y = splits.y_train[:256]

# %% [markdown]
# In NumPy. There is no autograd: the criterion's backward gives the gradient of the logits, and the
# model takes it from there.

# %%
numpy_impl.manual_seed(0)
nn, optim = numpy_impl.nn, numpy_impl.optim
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
optimizer = optim.AdamW(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
start = {key: value.copy() for key, value in model.state_dict().items()}

numpy_losses = []
for _ in range(20):
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    optimizer.step()
    optimizer.zero_grad()
    numpy_losses.append(float(loss))

# %% [markdown]
# In PyTorch. Weights are drawn in float32 on both sides and then widened, so they are the same.

# %%
torch.manual_seed(0)
nn, optim = torch.nn, torch.optim
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
optimizer = optim.AdamW(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
same_start = all(np.array_equal(start[k], v.numpy()) for k, v in model.state_dict().items())

torch_losses = []
for _ in range(20):
    loss = criterion(model(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    torch_losses.append(loss.item())

# %%
apart = max(abs(a - b) for a, b in zip(numpy_losses, torch_losses))
print(f"weights equal to the bit at the start: {same_start}")
print(f"loss {numpy_losses[0]:.4f} -> {numpy_losses[-1]:.4f}, at most {apart:.1e} apart")

# %% [markdown]
# # Stage 5: the optimizer
#
# `torch.optim.Adam` in the place of the class. It finds the gradients by itself, and the rate
# stands in its parameter groups.

# %%
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from examples.road import start

EPOCHS, BATCH, RATE, DECAY = 12, 32, 0.01, 0.1


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
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

# %%
losses = []
for epoch in range(EPOCHS):
    for group in optimizer.param_groups:
        group["lr"] = RATE / (1 + DECAY * epoch)
    for batch_x, batch_y in loader:
        loss = criterion(model(batch_x), batch_y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %%
with torch.no_grad():
    predicted = model(torch.from_numpy(x_test)).argmax(dim=1).numpy()
print(f"{len(losses)} steps, loss {losses[-1]:.6f}, {np.mean(predicted == labels):.1%} right")

# %% [markdown]
# # Stage 7: the loop
#
# What runs an epoch and what measures become functions: `train()` and `eval()` choose the mode of
# layers that have two, and `inference_mode` spares what autograd would keep.

# %%
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from examples.road import start

EPOCHS, BATCH, RATE, DECAY = 12, 32, 0.01, 0.1


# %%
def train_epoch(model, loader, criterion, optimizer):
    """One pass over the data; the loss of each step."""
    model.train()
    losses = []
    for x, y in loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.inference_mode()
def predict(model, x):
    """The class of each row."""
    model.eval()
    return model(x).argmax(dim=1)


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
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + DECAY * epoch))

# %%
losses = []
for _ in range(EPOCHS):
    losses += train_epoch(model, loader, criterion, optimizer)
    scheduler.step()

# %%
predicted = predict(model, torch.from_numpy(x_test)).numpy()
print(f"{len(losses)} steps, loss {losses[-1]:.6f}, {np.mean(predicted == labels):.1%} right")

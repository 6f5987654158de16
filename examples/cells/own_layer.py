# %% [markdown]
# # A layer of your own, held against torch
#
# Write it as you like; `compare` runs it on the same numbers as torch and says where it differs, by
# how much, and why.

# %%
import numpy as np
import torch

from parity_tests import compare

# %% [markdown]
# A layer norm as one might write it first. `np.std` divides by n, which is right; the backward
# forgets that the mean and the deviation move with x.


# %%
class LayerNorm:
    """Normalise each row, then scale and shift it."""

    def __init__(self, width):
        self.gamma, self.beta = np.ones(width), np.zeros(width)

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        self.x_hat = (x - x.mean(axis=-1, keepdims=True)) / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * dy / self.std


names = {"gamma": "weight", "beta": "bias"}
first = compare(LayerNorm, torch.nn.LayerNorm, args=(8,), inputs=[(4, 8)], params=names)
print(first.text())


# %% [markdown]
# The forward agrees, and so do the gradients of the parameters. Mended:


# %%
class Mended(LayerNorm):
    """The paths through the mean and the deviation come back too."""

    def backward(self, dy):
        super().backward(dy)
        g = self.gamma * dy
        g -= g.mean(axis=-1, keepdims=True)
        g -= self.x_hat * (g * self.x_hat).mean(axis=-1, keepdims=True)
        return g / self.std


mended = compare(Mended, torch.nn.LayerNorm, args=(8,), inputs=[(4, 8)], params=names)
print(mended.text())

# %% [markdown]
# # Why torch's running variance is not the guide's
#
# Batch norm divides by the variance of the batch, sum of squares over N: biased, and that is right,
# since it is this batch that is to come out with variance 1. For evaluation it tracks an estimate
# of the variance of all data. Over N that estimate is too low by (N - 1) / N, so torch tracks the
# sum over N - 1. The guide tracks what it divides by.

# %%
import numpy as np
import torch

import numpy_impl

rng = np.random.default_rng(0)
N = 4
batches = 3 + 2 * rng.standard_normal((200, N, 500))  # variance 4

# %% [markdown]
# Both sides of this project, and the guide's rule with the guide's momentum: 0.9 is the share of
# the old value there, 0.1 the share of the new one here.

# %%
ours, theirs = numpy_impl.nn.BatchNorm1d(500).double(), torch.nn.BatchNorm1d(500).double()
guide_var = np.ones(500)
for batch in batches:
    ours(batch)
    theirs(torch.from_numpy(batch))
    guide_var = 0.9 * guide_var + (1 - 0.9) * batch.var(axis=0)

print("true variance          4")
print(f"running_var, NumPy     {ours.running_var.mean():.3f}")
print(f"running_var, torch     {theirs.running_var.mean().item():.3f}")
print(f"the guide's            {guide_var.mean():.3f}   4 * (N - 1) / N = {4 * (N - 1) / N:.3f}")

# %% [markdown]
# What it does to the outputs: in evaluation the guide's are too large by sqrt(N / (N - 1)).

# %%
ours.eval()
x = 3 + 2 * rng.standard_normal((1000, 500))
right = ours(x)
guides = (x - ours.running_mean) / np.sqrt(guide_var + ours.eps)
factor = guides.std() / right.std()
print(
    f"its outputs are {factor:.3f} times as large; sqrt(N / (N - 1)) = {(N / (N - 1)) ** 0.5:.3f}"
)

# %% [markdown]
# The mended rule, one line: `batch.var(axis=0, ddof=1)`. To carry a state over that was tracked the
# other way, multiply it by N / (N - 1); `batch_norm_from_guide(..., batch_size=N)` does.

# %%
mended_var = np.ones(500)
for batch in batches:
    mended_var = 0.9 * mended_var + (1 - 0.9) * batch.var(axis=0, ddof=1)
print(f"mended: equal to torch's to {np.abs(mended_var - theirs.running_var.numpy()).max():.1e}")

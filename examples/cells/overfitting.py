# %% [markdown]
# # Overfitting
#
# 200 digits, four labels in ten wrong, and 9,600 parameters: the network first learns what digits
# have in common, then the wrong labels one by one. In NumPy and in PyTorch.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples.pitfalls.both_sides import VAL_LOSS
from examples.pitfalls.figure import drawn
from examples.pitfalls.overfitting import Overfitting
from examples.pitfalls.pitfall import trained
from examples.pitfalls.report import table

pitfall = Overfitting()
plain, early_stopping = pitfall.settings(quick=True, seed=0)

# %% [markdown]
# As it is. The loss on digits with right labels is what counts. Look for the epoch where it is
# lowest, and for where it ends.

# %%
found = trained([plain])
losses = found[plain.name][VAL_LOSS]
print(f"lowest after {losses.argmin() + 1} epochs: {losses.min():.2f}, at the end {losses[-1]:.2f}")

# %% [markdown]
# Early stopping waits eight epochs for a lower loss, then goes back to the best weights. In the
# table, compare the training accuracies: with four labels in ten wrong, an honest reader gets only
# 60 % of them right, and the network as it is gets nearly all.

# %%
found |= trained([early_stopping])
print(table(pitfall, found))

# %% [markdown]
# Left, the loss on validation digits by epoch; right, how many of them are read right at the end.
# `quick=False` above adds L1, L2, the elastic net, dropout, a smaller network, and more data, which
# does more than any of them.

# %%
drawn(pitfall, found)

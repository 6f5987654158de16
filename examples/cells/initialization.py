# %% [markdown]
# # Poor initialization
#
# What a layer hands on should spread as far as what it got. Weights of zero hand on nothing, and a
# rule that suits another activation loses a factor in every layer. Six layers on handwritten
# digits, in NumPy and in PyTorch.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples.pitfalls.both_sides import GRADIENTS, SPREADS
from examples.pitfalls.figure import drawn
from examples.pitfalls.initialization import Initialization
from examples.pitfalls.pitfall import trained
from examples.pitfalls.report import table

pitfall = Initialization()
zeros, xavier, he = pitfall.settings(quick=True, seed=0)

# %% [markdown]
# Zeros. Whatever the input, every layer puts out 0, and no gradient gets past the last one: only
# the last bias learns, which is how often each digit occurs.

# %%
found = trained([zeros])
print("spread of the layers  ", 10 ** found[zeros.name][f"{SPREADS} before"])
print("gradient of the layers", 10 ** found[zeros.name][f"{GRADIENTS} before"])

# %% [markdown]
# ReLU twice: Xavier's rule, which is for tanh, and He's, which makes up for the half that a ReLU
# cuts off. Look for the factor by which each layer's spread falls: about 0.7 = sqrt(1/2), or 1.

# %%
found |= trained([xavier, he])
for setting in (xavier, he):
    spread = 10 ** found[setting.name][f"{SPREADS} before"]
    print(f"{setting.name:12}", spread.round(2), "factors", (spread[1:] / spread[:-1]).round(2))

# %% [markdown]
# What it does to learning. In the table, `NumPy-torch` is how far both sides are apart.

# %%
print(table(pitfall, found))

# %% [markdown]
# Left, the spread before training: level is right. Right, the loss: the level line falls first.
# `quick=False` above adds tanh with weights too small, too large, and right.

# %%
drawn(pitfall, found)

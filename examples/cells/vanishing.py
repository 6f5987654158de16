# %% [markdown]
# # Vanishing gradients
#
# The slope of a sigmoid is at most 1/4. On the way back through many layers these slopes multiply,
# until the first layers have nothing left to learn from. Here are ten layers on handwritten digits,
# trained in NumPy and in PyTorch.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

import numpy as np

from examples.pitfalls.both_sides import GRADIENTS, LOSS
from examples.pitfalls.figure import drawn
from examples.pitfalls.pitfall import trained
from examples.pitfalls.report import table
from examples.pitfalls.vanishing import Vanishing

pitfall = Vanishing()
sigmoid, relu = pitfall.settings(quick=True, seed=0)

# %% [markdown]
# The plain network. Read its gradients from the last line up: each layer's norm is about a quarter
# of that of the layer above it.

# %%
found = trained([sigmoid])
norms = 10 ** found[sigmoid.name][f"{GRADIENTS} before"]
for layer, norm in enumerate(norms, 1):
    print(f"layer {layer:2}  {norm:.1e}")

# %% [markdown]
# So it does not learn: the loss stays at ln 10 = 2.30, that of a guess among ten digits.

# %%
print(found[sigmoid.name][LOSS][::8].round(3), np.log(10).round(3))

# %% [markdown]
# The first cure: the slope of a ReLU is 1 wherever it lets anything through. In the table, look at
# the first gradient over the last, and at the loss. `NumPy-torch` is how far both sides are apart.

# %%
found |= trained([relu])
print(table(pitfall, found))

# %% [markdown]
# On the left the cure keeps the line level, and on the right only the level line learns. Wide pale
# lines are NumPy, thin dashed ones PyTorch.
#
# With `quick=False` above there are twenty layers and two more cures: batch norm scales each layer
# back up, and the path of a residual has no sigmoid on it.

# %%
drawn(pitfall, found)

# %% [markdown]
# # Exploding gradients
#
# Weights half as large again as they should be enlarge what passes through them, forward and back.
# Ten layers are enough to throw a network out of the range of floats. It is trained in NumPy and in
# PyTorch, first as it is, then with a cure.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples.pitfalls.both_sides import BROKE_DOWN, LOSS, NORM
from examples.pitfalls.exploding import Exploding
from examples.pitfalls.figure import drawn
from examples.pitfalls.pitfall import trained
from examples.pitfalls.report import table

pitfall = Exploding()
settings = {setting.name: setting for setting in pitfall.settings(quick=True, seed=0)}
print("\n".join(settings))

# %% [markdown]
# As it is. Look for how the gradient's norm starts, what a single step makes of it, and at which
# step the first NaN comes.

# %%
found = trained([settings["deep, as it is"]])
deep = found["deep, as it is"]
print("gradient norm", [f"{norm:.2g}" for norm in deep[NORM]])
print("loss         ", [f"{loss:.2g}" for loss in deep[LOSS]])
print(f"first NaN at step {deep[BROKE_DOWN][0]}")

# %% [markdown]
# He's weights take away the cause: the gradient starts where it can be used.

# %%
found |= trained([settings["deep, He's weights"]])
print("gradient norm at the start", found["deep, He's weights"][NORM][0].round(2))

# %% [markdown]
# Clipping cures without touching the cause. A recurrence has to name at its end the symbol that it
# saw thirty steps before; going back, every step multiplies the gradient. Clipped to norm 1 before
# each step, it keeps its direction and loses its size. In the table, compare the losses.

# %%
found |= trained([settings["recurrence, clipped to 1"]])
print(table(pitfall, found))

# %% [markdown]
# Left, the norm of the gradient before clipping; right, the loss of the recurrence.
# `python -m examples.pitfalls exploding` adds batch norm, lower rates, and the recurrence as it is.

# %%
drawn(pitfall, found)

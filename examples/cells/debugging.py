# %% [markdown]
# # A network that does not learn, and what is wrong with it
#
# There are five faults in this network for digits. It exists twice, in NumPy and in PyTorch, with
# the same weights and the same faults. One tool after the other is run on both, and what it found
# is mended before the next one looks. Each look ends with whether both sides said the same.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples.datasets import load_splits
from examples.debugging import Clinic

clinic, figures = Clinic(load_splits(), quick=True), {}
print(clinic.network("torch_impl"))
print(clinic.faults)

# %% [markdown]
# ## 1. The first loss is NaN. Where does it come from?
#
# `find_non_finite(model, [x], y, criterion)` runs one step and names the first place with a number
# that is none: an input, a layer, the loss, or a gradient.

# %%
figures |= clinic.where_the_nan_came_from()

# %% [markdown]
# ## 2. Does the loss start at ln 10 = 2.303?
#
# `initial_loss(model, (x, y), criterion)` looks. A network that knows nothing of ten classes has
# that loss. A larger one says that the first guess is sure of itself, and wrong: the weights are
# too large.

# %%
figures |= clinic.where_the_loss_starts()

# %% [markdown]
# ## 3. Is every gradient right?
#
# `gradient_check(model, [x], y, criterion)` moves numbers a little and looks what the loss does.
# Look for the first layer from which on all is right: the fault is in the backward between it and
# the layer before.

# %%
figures |= clinic.whether_the_gradient_is_right()

# %% [markdown]
# How far to move? Too far measures a curve, too little measures rounding. The best step lies where
# the error is lowest, and that is far from the smallest.

# %%
figures["step_sizes"]

# %% [markdown]
# ## 4. What do the layers put out?
#
# `with ActivationMonitor(model):` watches. Look for `dead`, the share of units that are 0 for every
# digit: no gradient gets past them.

# %%
figures |= clinic.what_the_layers_put_out()

# %% [markdown]
# ## 5. Can one batch be learned, and at which rate?
#
# A sound network learns 32 digits by heart in a few steps: `overfit_one_batch`. Where it does not,
# `lr_range_test` says whether the rate is to blame: it grows with every step, and the loss tells.

# %%
figures |= clinic.which_rate()

# %% [markdown]
# The loss falls fastest at one mark and is lowest further on. A tenth of the lowest point's rate is
# a rate to train with.

# %%
figures["range_test"]

# %% [markdown]
# ## 6. Before and after
#
# Trained with all the faults but the NaN, and without any, under `Monitor` and `ActivationMonitor`.

# %%
figures |= clinic.the_cure()

# %% [markdown]
# How large the gradient is in each layer, from the first step to the last: first with the faults,
# then mended. Look for lines that lie level and close together.

# %%
figures["gradient_flow_with"]

# %%
figures["gradient_flow_mended"]

# %%
figures["training_curves"]

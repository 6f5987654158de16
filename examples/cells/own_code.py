# %% [markdown]
# # Scratch code beside the framework: printed, diagnosed, mended
#
# The guide's own classes, as they are printed, held against torch by `compare`. For each: what
# `compare` says is wrong, the lines that mend it, and the verdict on what is mended. In each
# verdict read the line `why`: it names the cause and how well that cause gives your numbers.

# %%
import inspect
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

import torch

from examples import guide_mended as mended
from examples import guide_printed as printed
from examples import own_code
from parity_tests import compare

# %% [markdown]
# ## Adam: a step count that counts calls
#
# The class as printed. It is asked to update one array at a time, and `t` counts every call.

# %%
print(inspect.getsource(printed.AdamOptimizer))

# %% [markdown]
# With two parameters `t` runs twice as fast, so the bias correction is wrong from the second on.

# %%
print(compare(printed.AdamOptimizer, torch.optim.Adam).text())

# %% [markdown]
# Mended by a step count for each array. These are the lines that change:

# %%
print(own_code.difference(printed.AdamOptimizer, mended.AdamOptimizer))
print(compare(mended.AdamOptimizer, torch.optim.Adam).text())

# %% [markdown]
# ## Batch norm: three conventions
#
# The guide's momentum is the share of the old value, torch's that of the new one: handed the same
# number, the two track different things. From here on only `where` and `why` are shown.

# %%
print(own_code.shortened(own_code.batch_norm(printed.BatchNormalization, (), momentum=0.1).text()))

# %% [markdown]
# With momentum translated, the next difference shows: the variance that is tracked is the biased
# one, and the statistics start at the first batch.

# %%
print(own_code.shortened(own_code.batch_norm(printed.BatchNormalization, ()).text()))

# %%
print(own_code.difference(printed.BatchNormalization, mended.BatchNormalization))
print(own_code.shortened(own_code.batch_norm(mended.BatchNormalization, (5,)).text()))

# %% [markdown]
# ## The network: a loss and a gradient that are not of each other
#
# First, a ReLU stands behind the output layer too, so no target below 0 can be reached.

# %%
print(own_code.shortened(own_code.mlp(printed.DeepMLP).text()))

# %% [markdown]
# With a linear output, what is left is a factor: the loss that is printed is a mean over all
# numbers, the gradient is of half a sum over the outputs.

# %%
print(own_code.shortened(own_code.mlp(mended.LinearOutput).text()))

# %%
print(own_code.difference(mended.LinearOutput, mended.DeepMLP))
print(own_code.shortened(own_code.mlp(mended.DeepMLP).text()))

# %% [markdown]
# The guide has a gradient check. It looks at weights only, and here it says what `compare` said.

# %%
print(own_code.checks_itself())

# %% [markdown]
# ## The others
#
# Residual block, schedule, L2 and dropout, in short: what is wrong, where, why, and what mends it.
# `python examples/own_code.py` shows them in full.

# %%
for lesson in own_code.LESSONS:
    if lesson.name in ("residual", "schedule", "l2", "dropout"):
        print(f"{lesson.title}\n{'-' * 96}")
        own_code.show(lesson, quick=True)

# %% [markdown]
# # One network on handwritten digits, trained twice
#
# A network with batch norm and dropout learns to read digits, once in NumPy and once in PyTorch.
# Both sides get one seed and nothing else. In float64 the losses of every step are then equal to
# the last digits, and so is what is read.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples import digits
from examples.datasets import load_splits
from examples.digits_figure import draw
from examples.digits_report import compare, describe, histories

# %% [markdown]
# What is trained and how. Every option of the command is a field here: change one, say
# `residual=True`, `optimizer="sgd"` or `dtype="float32"`, and run the cells below again.

# %%
setting = digits.Setting(width=32, lr=0.01, epochs=6)
data = digits.fewer(load_splits())
print(describe(setting, data))

# %% [markdown]
# Both networks are drawn from the seed. Look for "equal to the bit": no weight was copied.

# %%
ours, theirs = digits.build("numpy_impl", setting, data), digits.build("torch_impl", setting, data)
print(digits.start(ours, theirs, setting.seed))

# %% [markdown]
# Both are trained. Shuffles and dropout masks come from the same seed too. In the table, the last
# column is the largest difference in its line: about 1e-16, which is one unit in the last place.

# %%
numpy_run = digits.train("numpy_impl", ours, setting, data)
torch_run = digits.train("torch_impl", theirs, setting, data)
print(histories(numpy_run.history, torch_run.history))

# %%
agree, verdict = compare(numpy_run, torch_run, setting.dtype, data)
print(verdict)

# %% [markdown]
# On the left, the curves of both sides lie on each other, and below them is how far they are apart.
# On the right are digits that both read wrong: the same ones.

# %%
draw(numpy_run, torch_run, data, setting.dtype)

# %% [markdown]
# # Learning rates, and how to find one
#
# The rate is the first thing to tune: a factor of ten either way loses the training. A range test
# finds it in one short run. Two hidden layers on handwritten digits, in NumPy and in PyTorch.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples.pitfalls.both_sides import LOSS, RATE
from examples.pitfalls.figure import drawn
from examples.pitfalls.learning_rate import LearningRate, rate_of, trailing
from examples.pitfalls.pitfall import trained
from examples.pitfalls.report import table

pitfall = LearningRate()
too_high, range_test, at_the_rate_found = pitfall.settings(quick=True, seed=0)

# %% [markdown]
# Too high: a few steps throw the ReLUs to where they are 0 for every digit, and the loss stays at
# ln 10 = 2.30, that of a guess.

# %%
found = trained([too_high])
print(found[too_high.name][LOSS][::8].round(2))

# %% [markdown]
# The range test. The rate grows by a factor with every step. Look for where the loss begins to
# fall, where it is lowest, and where it jumps.

# %%
found |= trained([range_test])
test = found[range_test.name]
for rate, loss in list(zip(test[RATE], trailing(test[LOSS])))[::6]:
    print(f"rate {rate:8.1e}  loss {loss:8.2f}")

# %% [markdown]
# A quarter of the rate with the lowest loss is one to train with.

# %%
print(f"rate found: {rate_of(test):.2g}")
found |= trained([at_the_rate_found])
print(table(pitfall, found))

# %% [markdown]
# Left, the range test with the rate found dotted; right, the loss at the rate that was too high and
# at the one found. `quick=False` above adds a rate that is too low, one that decays, and Adam.

# %%
drawn(pitfall, found)

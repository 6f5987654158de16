# %% [markdown]
# # Searching for settings: random, Bayesian, halving
#
# Random search forgets what it has seen. Bayesian search fits a Gaussian process to it and tries
# what that expects to improve most. Halving gives many settings a little training and only the good
# ones more. All three are the project's own, on both sides, and propose the same trials there.

# %%
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy loads: more threads cost time here

from examples import plots
from examples.tuning import digits
from examples.tuning.figure import draw
from examples.tuning.searches import INITIAL, distances, search
from numpy_impl.tuning import random_search, successive_halving

# %% [markdown]
# ## A function whose least value is known
#
# Branin's function has two parameters and three valleys. Each search is run from three seeds; the
# first ten trials are the same random ones. Look for what happens from the eleventh on.

# %%
TRIALS, SEEDS = 25, range(3)
bayesian, random = (
    [search(("numpy_impl", name, "Branin", TRIALS, seed)) for seed in SEEDS]
    for name in ("bayesian_search", "random_search")
)
runs = {
    "Bayesian search": distances(bayesian, "Branin"),
    "random search": distances(random, "Branin"),
}
for name, distance in runs.items():
    print(f"{name:16} best score above the least: {distance[:, -1].round(4)}")

# %%
draw({"Branin": runs}, INITIAL)

# %% [markdown]
# The torch side, from the first seed: every trial and every score is the same.

# %%
torch_trials = search(("torch_impl", "bayesian_search", "Branin", 15, SEEDS[0]))
print("the same trials on both sides:", torch_trials == bayesian[0][:15])

# %% [markdown]
# ## A network for digits
#
# 27 settings get one epoch, the best nine of them three, the best three of those nine: 81 epochs.
# Random search gets as many, and spends them on nine settings. Compare the losses, then look in
# the table for how early the best setting showed.


# %%
def validation_loss(config, epochs=9):
    """What both searches try to lower."""
    return digits.objective(config, "numpy_impl", epochs, samples=300)


space = digits.space("numpy_impl")
halving = successive_halving(validation_loss, space, 27, max_budget=9, progress=False)
at_random = random_search(validation_loss, space, 9, progress=False)
print(f"best of halving {halving.best.score:.3f}, of random search {at_random.best.score:.3f}\n")
print(halving.table(top=6))

# %% [markdown]
# Three ways to look at a study. How it went: pale dots are trials with fewer epochs.

# %%
plots.convergence(halving)

# %% [markdown]
# What each parameter did, the best trial ringed. Look for a slope: here the rate decides.

# %%
plots.slices(halving)

# %% [markdown]
# Every trial as a line through its settings to its score, the best in front.

# %%
plots.parallel_coordinates(halving)

# %% [markdown]
# # How long a step takes, honestly
#
# Times depend on the machine and on what else it does. So both sides are timed in one process, turn
# by turn, on one thread each, and what is told is the ratio: NumPy's time over torch's, below 1
# where NumPy is faster.

# %%
import os
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch load: one thread on each side

from examples.benchmarks.growth import growth, text
from examples.benchmarks.machine import machine
from examples.benchmarks.networks import SMALL, numpy_step, samples, torch_step
from examples.benchmarks.timing import interleave, quartiles, ratios
from examples.plots.style import DARK, LIGHT, plain, sheet

print("\n".join(f"{what:10} {said}" for what, said in machine().items()))

# %% [markdown]
# One training step of a small network (6,570 parameters, batch 32): forward, loss, backward, Adam.
# Each side's step is a function of no arguments.

# %%
x, y = samples(32, SMALL, "float32")
sides = {"NumPy": numpy_step(SMALL, x, y), "torch": torch_step(SMALL, x, y)}

# %% [markdown]
# In every round each side has a turn of 10 ms, and the order turns round from one to the next. So a
# machine that slows down slows both, and the ratio within a round stays what it is.

# %%
turns = interleave(sides, rounds=11, seconds=0.01)
for side, taken in turns.items():
    print(f"{side}  {median(turn.cpu for turn in taken) * 1e3:.3f} ms a step")
each = ratios(turns["NumPy"], turns["torch"])
low, middle, high = quartiles(each)
print(f"ratio {middle:.2f}, half of the rounds between {low:.2f} and {high:.2f}")

# %% [markdown]
# Every round. Dots close to the line say that the machine was quiet, and the ratio can be believed.

# %%
figure = sheet("NumPy's time over torch's, round by round", height=3)
axes = figure.subplots()
axes.plot(range(1, len(each) + 1), each, "o", color=DARK)
axes.axhline(middle, color=LIGHT, linewidth=2)
axes.set_ylim(0, 1.2 * max(each))
plain(axes, "round", "ratio", f"median {middle:.2f}; below 1 NumPy is faster")
figure

# %% [markdown]
# With the batch, the ratio changes: on few rows a step is mostly calls, of which torch makes
# costlier ones; on many rows it is arithmetic. Look for where each line leaves the level.

# %%
rows = growth([1, 8, 32, 128, 512], rounds=5, seconds=0.005, clock="cpu")
print(text(rows))

# %%
figure = sheet("Time of a layer and step, by batch", height=3)
axes = figure.subplots()
batches = [row["batch"] for row in rows]
axes.loglog(batches, [row["numpy_us"] for row in rows], "o-", color=LIGHT, label="NumPy")
axes.loglog(batches, [row["torch_us"] for row in rows], "o-", color=DARK, label="torch, fused Adam")
axes.legend(frameon=False)
plain(axes, "rows in the batch", "µs")
figure

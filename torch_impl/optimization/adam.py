"""Momentum and a step size per element from one pair of running means.

`step` is a float32 tensor on the CPU for every parameter, so one that gets its first gradient late
has its own bias correction. `weight_decay` is coupled: it enters both means, and is divided by the
gradient's size like everything else (`AdamW` decouples it). `amsgrad` keeps the largest
`exp_avg_sq` before bias correction. `fused=True` runs one kernel and needs no other change.
"""

from torch.optim import Adam

__all__ = ["Adam"]

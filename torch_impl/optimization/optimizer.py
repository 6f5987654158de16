"""What every optimizer stands on: parameter groups, state, and which kernel runs.

State is made at a parameter's first step with a gradient, not in the constructor: a parameter
whose `.grad` is None is skipped, so it neither decays nor counts a step. `requires_grad=False` is
not looked at: a frozen parameter that still holds an old gradient goes on moving.

On a CPU the default is the loop over parameters; `fused=True` runs Adam, AdamW and SGD as one
kernel, several times as fast. On a GPU `foreach` is the default. The kernels round differently.

`state_dict()` numbers the parameters in group order and knows no names: build the optimizer from
the same groups before loading. Loading casts everything but `step` to the parameter's dtype.
"""

from torch.optim import Optimizer

__all__ = ["Optimizer"]

"""Advanced neural-network techniques from scratch in NumPy, forward and backward by hand.

`nn` and `optim` mirror torch.nn and torch.optim: a network moves over by changing the import.
Seeds are torch's: `manual_seed(0)` gives the numbers that torch.manual_seed(0) gives.
"""

from numpy_impl import nn, optim
from numpy_impl.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)

__all__ = [
    "Generator",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "nn",
    "optim",
    "seed",
    "set_rng_state",
]

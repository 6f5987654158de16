"""Advanced neural-network techniques from scratch in NumPy, forward and backward by hand.

`nn` and `optim` mirror torch.nn and torch.optim: a network moves over by changing the import.
"""

from numpy_impl import nn, optim
from numpy_impl.random import Generator, manual_seed

__all__ = ["Generator", "manual_seed", "nn", "optim"]

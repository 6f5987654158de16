"""Gradient descent with each step divided by the gradient's running size.

eps stands outside the root, so a step can be up to lr * g / eps at the start, and `square_avg`
starts at 0 with no bias correction: the first steps are 1 / sqrt(1 - alpha) times too long (ten
times by default). The centered form can take the root of a rounding error below 0 and give NaN
when the gradient hardly changes. There is no fused kernel.
"""

from torch.optim import RMSprop

__all__ = ["RMSprop"]

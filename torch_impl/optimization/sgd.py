"""Gradient descent, plain and with momentum.

The first momentum buffer is the gradient itself, so `dampening` begins with the second step. The
learning rate is applied to the buffer, not kept in it: a schedule scales past gradients too.
`weight_decay=w` adds w * p to the gradient, the gradient of w/2 * sum(p^2), after `maximize` has
turned the gradient's sign and before momentum. Without momentum no state is kept at all.
"""

from torch.optim import SGD

__all__ = ["SGD"]

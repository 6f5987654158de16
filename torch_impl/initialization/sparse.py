"""Few connections into each unit, and those small.

The zeros are values like any other: the tensor stays dense, and training fills them in. To keep
them at zero takes a mask (`torch.nn.utils.prune`).

The values come from `generator=`, but the rows of the zeros from the global generator: seed both to
repeat it.
"""

from torch.nn.init import sparse_

__all__ = ["sparse_"]

"""Weights that turn a vector without stretching it.

One QR factorization of a normal matrix, in the tensor's dtype, with the signs of R's diagonal moved
into Q. The draws repeat exactly from a seed; Q comes from LAPACK, so its last digits depend on the
library (MKL, OpenBLAS) and its version.

`torch.nn.utils.parametrizations.orthogonal` keeps a weight orthogonal while it trains; this only
starts it there.
"""

from torch.nn.init import orthogonal_

__all__ = ["orthogonal_"]

"""Numbers that both sides drew from one seed, held to what the generator promises for them."""

from __future__ import annotations

import numpy as np

from numpy_impl.random import Generator
from parity_tests.harness.inputs import Array, same


def far_from_promised(x: Array, y: Array, *draws: str) -> str:
    """Why x, drawn as `draws` say, is not as near to torch's y as promised; "" if it is.

    Draws go by their names in `Generator.exactness()`, the dtype left out; of several the one with
    the widest promise counts.
    """
    if x.shape != y.shape or x.dtype != y.dtype:
        return f"{x.dtype} {x.shape}, torch has {y.dtype} {y.shape}"
    if same(x, y):
        return ""
    if x.dtype.kind != "f":
        return f"{np.count_nonzero(x != y)} of {x.size} numbers differ"
    promises = Generator.exactness()
    names = (name if name in promises else f"{name} {x.dtype}" for name in draws)
    ulps = max(promises[name].ulps for name in names)
    apart = np.abs(x - y) / np.spacing(np.abs(y).max())
    far = np.count_nonzero(~(apart <= ulps))
    return f"{far} of {x.size} numbers are off by up to {apart.max():.2g} ulps" if far else ""

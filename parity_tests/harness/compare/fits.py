"""Generic fits: what must be done to the reference to get these numbers, whatever the technique?

A fit is a guess with no knowledge of what is computed: a factor, a sign, a transposition, another
known tensor added. It counts only if it gives the numbers to rounding in every trial, and has far
fewer free numbers than it explains; what merely resembles is evidence, not a cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.fit_arrangement import rearranged, shapes
from parity_tests.harness.compare.fit_regions import by_slice, regions
from parity_tests.harness.compare.fit_terms import added, known_tensor, running, scaled_by
from parity_tests.harness.compare.fit_whole import (
    clipped,
    constant,
    factor,
    mapped,
    offset,
    rounded,
    zero,
)
from parity_tests.harness.compare.sample import Fit, Sample

Array = np.ndarray[Any, np.dtype[Any]]


def fits(samples: Sequence[Sample]) -> list[Fit]:
    """Every fit that says something, those to rounding first, then by how near they come."""
    found: list[Fit] = []
    with np.errstate(all="ignore"):
        for guesses in (SIMPLE, GUESSES):
            for guess in guesses:
                result = guess(samples)
                for fit in result if isinstance(result, list) else [result]:
                    if fit is not None and math.isfinite(fit.residual):
                        found.append(fit)
            if any(f.exact and f.complete for f in found):
                break  # what is simpler is likelier
    found.sort(
        key=lambda f: (
            not (f.exact and f.complete),
            not f.exact,
            f.cost if f.exact else 0,
            f.residual,
        )
    )
    return found


SIMPLE: list[Callable[[Sequence[Sample]], Any]] = [
    zero,
    constant,
    running,
    factor,
    offset,
    known_tensor,
    rounded,
]


GUESSES: list[Callable[[Sequence[Sample]], Any]] = [
    mapped,
    shapes,
    rearranged,
    added,
    scaled_by,
    clipped,
    by_slice,
    regions,
]

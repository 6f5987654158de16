"""A named mistake: wrong-on-purpose code, who writes it that way, and what it does.

    mistakes = {
        "running variance biased": Mistake(
            BiasedRunningVar,
            "The guide and many NumPy versions track the variance that they normalise by.",
            "Outputs in eval mode are too large by sqrt(n / (n - 1)).",
        ),
    }

One list, three uses: it teaches, it scores the suite (each must be caught, and each pair told
apart), and it diagnoses: whoever's code gives the same numbers has made this mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """What people get wrong about a technique, as a program.

    Args:
        stand_in: what takes the place of the case's `numpy`. For functions with a backward also a
            pair of both, for trainings a mapping of methods.
        who: one sentence on who writes it that way.
        effect: one sentence on what it does to the numbers or to training.
    """

    stand_in: Any
    who: str = ""
    effect: str = ""

    @classmethod
    def of(cls, given: Any) -> Mistake:
        """A mistake; a bare stand-in becomes one without words."""
        return given if isinstance(given, Mistake) else cls(given)

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

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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


def as_functions(
    mistakes: Mapping[str, Mistake], function: Callable[..., Any]
) -> dict[str, Mistake]:
    """What people get wrong about a layer, in the form of a function and its backward.

    Whoever writes `function` writes the layer's lines, so each wrong layer becomes a pair that is
    called as the function is: its options make the layer, its arrays go through it.
    """
    return {k: replace(m, stand_in=_pair(m.stand_in, function)) for k, m in mistakes.items()}


def _pair(layer: Any, function: Callable[..., Any]) -> tuple[Any, Any]:
    takes = list(inspect.signature(function).parameters.values())
    count = len(inspect.signature(layer.forward).parameters) - 1  # less self
    first = inspect.Parameter("dy", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([first, *takes])

    @functools.wraps(function)
    def forward(*inputs: Any, **options: Any) -> Any:
        return layer(**options)(*inputs)

    def backward(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        dy, *arrays = (given.pop(name) for name in list(signature.parameters)[: 1 + count])
        made = layer(**given)
        made(*arrays)
        return made.backward(dy)

    backward.__signature__ = signature  # type: ignore[attr-defined]
    return forward, backward

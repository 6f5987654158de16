"""Bad input: how a case declares it, and how a check sees that it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parity_tests.harness.inputs import Config

REFUSALS = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Refusal:
    """Bad input that must raise at once and leave everything as it was.

    Args:
        config: the arguments; None takes the case's first configuration.
        inputs: what a module's forward or a function is called with; None means that the arguments
            alone must raise: in a module's constructor, or in a function fed ordinary inputs.
        says: a regular expression that the NumPy side's message must contain.
        torch: whether torch raises too; False where only this side is that strict, with a reason
            in the case.
        training: the mode that a module's forward runs in.
    """

    config: Config | None = None
    inputs: tuple[Any, ...] | None = None
    says: str = ""
    torch: bool = True
    training: bool = True


def raises(fn: Callable[..., Any], *args: Any, error: Any = REFUSALS) -> bool:
    """Whether fn refuses these arguments and says why."""
    try:
        fn(*args)
    except error as refusal:
        return any(refusal.args)
    return False


def refused(fn: Callable[[], Any]) -> str | None:
    """What it said when it refused, or None (for silence, too)."""
    try:
        fn()
    except REFUSALS as error:
        return str(error) if any(error.args) else None
    return None


def says(message: str, pattern: str) -> bool:
    """Whether the message contains the pattern."""
    return re.search(pattern, message) is not None

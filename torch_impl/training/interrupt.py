"""Ctrl-C without half-made updates.

The framework holds nothing back: Python raises between two of its calls, which for the per-tensor
optimizers is between two parameters. Fused ones update all in one call, but their step counts and
the scheduler come apart all the same.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["interrupt_between_steps"]


@contextlib.contextmanager
def interrupt_between_steps() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the function that comes with `as` is called, or the block ends.

        with interrupt_between_steps() as stop_if_asked:
            for batch in batches:
                train_step(...)
                stop_if_asked()  # raises KeyboardInterrupt here

    An update walks over the parameters one by one, so an interrupt in its middle leaves a model
    that no step ever made. A second Ctrl-C is not held back. Where Ctrl-C would not raise
    KeyboardInterrupt anyway, in another thread or under a handler of the program's own, nothing
    changes.
    """
    pressed = 0

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1:
            raise KeyboardInterrupt

    def stop_if_asked() -> None:
        if pressed:
            raise KeyboardInterrupt

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield stop_if_asked
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    stop_if_asked()

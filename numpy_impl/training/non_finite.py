"""Where the first NaN or infinity of a step came from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numpy_impl.module import Array, Module, no_grad
from numpy_impl.random import Generator, default_generator

__all__ = ["NonFiniteError", "find_non_finite"]


class NonFiniteError(FloatingPointError):
    """A loss or a gradient became NaN or infinite; the update that would have used it was not made.

    `layer` is the dotted name of the module that produced the value first, None where it was not
    a module. `epoch` and `step` count from 1, step within the epoch; both are 0 for a step taken
    by hand, and step is 0 for validation.
    """

    def __init__(self, what: str, why: str = "", layer: str | None = None) -> None:
        self.what, self.why, self.layer = what, why, layer
        self.epoch = self.step = 0

    def __str__(self) -> str:
        at = f"epoch {self.epoch}, " + (f"step {self.step}" if self.step else "validation")
        return (f"{at}: " if self.epoch else "") + self.what + (f"; {self.why}" if self.why else "")


def find_non_finite(
    model: Module,
    inputs: Sequence[Array],
    target: Array | None = None,
    criterion: Module | None = None,
) -> tuple[str | None, str]:
    """Run a forward again and look at everything on the way: (layer, what happened, in words).

    Modules are seen in the order in which they finish, the criterion last, so the first one with
    a NaN or infinity in its output is where it came up: a layer, or a block that combines finite
    parts. Nothing changes: buffers and random streams are put back, and nothing is saved for
    backward. What is drawn is not what the first run drew; if it all comes out finite this time,
    the answer says so.
    """
    for name, x in [(f"input {i}", x) for i, x in enumerate(inputs)] + [("the target", target)]:
        if x is not None and (bad := _non_finite(x)):
            return None, f"{name} already has {bad}"
    found: list[tuple[str | None, str]] = []
    names = {id(module): name or None for name, module in model.named_modules()}

    def look(module: Module, args: tuple[Any, ...], output: Any) -> None:
        if found or not (bad := _non_finite(output)):
            return
        name = names.get(id(module))
        role = name or ("the criterion" if module is criterion else "the model")
        text = f"{role} ({type(module).__name__})"
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        causes = [f"its {k} has {held}" for k, v in own if (held := _non_finite(np.asarray(v)))]
        if came := _non_finite(args):
            causes.append(f"what it was handed, made between modules, has {came}")
        why = " and ".join(causes) or "from finite input and finite parameters"
        found.append((name, f"{text} is the first whose output has {bad}: {why}"))

    with contextlib.ExitStack() as stack:
        stack.enter_context(_kept(model))
        stack.enter_context(no_grad())
        stack.enter_context(np.errstate(all="ignore"))
        for module in [*model.modules(), *([criterion] if criterion is not None else [])]:
            stack.enter_context(module.register_forward_hook(look))
        output = model(*inputs)
        if criterion is not None and target is not None:
            criterion(output, target)
    if found:
        return found[0]
    return None, "every output is finite when the batch is run again with other random draws"


def _non_finite(value: Any) -> str:
    """What is wrong with an array, in words; empty if nothing is, or it holds no floats."""
    if isinstance(value, tuple | list):
        return next(filter(None, map(_non_finite, value)), "")
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind != "f":
        return ""
    value = np.asarray(value)
    bad = np.argwhere(~np.isfinite(value))
    if not len(bad):
        return ""
    at = tuple(bad[0].tolist())
    return f"{value[at]} at {list(at)}, {len(bad)} of {value.size} values"


def streams_of(*holders: Any) -> list[Generator]:
    """The global stream and those that modules hold, or other objects directly, each once."""
    parts = [m for h in holders for m in (h.modules() if isinstance(h, Module) else [h])]
    held = [v for p in parts for v in getattr(p, "__dict__", {}).values()]
    streams = [default_generator, *(v for v in held if isinstance(v, Generator))]
    return list({id(stream): stream for stream in streams}.values())


@contextlib.contextmanager
def kept_streams(*holders: Any) -> Iterator[None]:
    """Afterwards the global stream and those of modules and loaders stand where they stood."""
    states = [(stream, stream.get_state()) for stream in streams_of(*holders)]
    try:
        yield
    finally:
        for stream, state in states:
            stream.set_state(state)


@contextlib.contextmanager
def _kept(model: Module) -> Iterator[None]:
    """Put buffers and every random stream in reach back where they were."""
    buffers = {name: buffer.copy() for name, buffer in model.named_buffers()}
    with kept_streams(model):
        try:
            yield
        finally:
            for name, buffer in model.named_buffers():
                buffer[...] = buffers[name]

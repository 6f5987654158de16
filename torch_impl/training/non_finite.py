"""Where the first NaN or infinity of a step came from.

Forward hooks are called after each module's forward, children before the module that holds them.
They cost nothing while none is registered, which is why the batch is run again with hooks instead
of every batch being watched. `torch.autograd.set_detect_anomaly` is the framework's own tool for
the backward; it names the operation, not the layer, and slows every step down.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

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
    model: nn.Module,
    inputs: Sequence[Tensor],
    target: Tensor | None = None,
    criterion: nn.Module | None = None,
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
    names = {module: name or None for name, module in model.named_modules()}

    def look(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if found or not (bad := _non_finite(output)):
            return
        name = names.get(module)
        role = name or ("the criterion" if module is criterion else "the model")
        text = f"{role} ({type(module).__name__})"
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        causes = [f"its {k} has {held}" for k, v in own if (held := _non_finite(v))]
        if came := _non_finite(args):
            causes.append(f"what it was handed, made between modules, has {came}")
        why = " and ".join(causes) or "from finite input and finite parameters"
        found.append((name, f"{text} is the first whose output has {bad}: {why}"))

    with contextlib.ExitStack() as stack:
        stack.enter_context(_kept(model))
        stack.enter_context(torch.no_grad())
        for module in [*model.modules(), *([criterion] if criterion is not None else [])]:
            stack.enter_context(module.register_forward_hook(look))
        output = model(*inputs)
        if criterion is not None and target is not None:
            criterion(output, target)
    if found:
        return found[0]
    return None, "every output is finite when the batch is run again with other random draws"


def _non_finite(value: Any) -> str:
    """What is wrong with a tensor, in words; empty if nothing is, or it holds no floats."""
    if isinstance(value, tuple | list):
        return next(filter(None, map(_non_finite, value)), "")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return ""
    bad = (~value.isfinite()).nonzero()
    if not len(bad):
        return ""
    at = tuple(bad[0].tolist())
    return f"{value[at].item()} at {list(at)}, {len(bad)} of {value.numel()} values"


@contextlib.contextmanager
def kept_streams(model: nn.Module, batches: Any = None) -> Iterator[list[int]]:
    """Afterwards the global streams, and a loader's own, stand where they stood.

    Gives the numbers of the GPUs that the model is on, whose streams are among them.
    """
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    parts = [batches, *(getattr(batches, k, None) for k in ("sampler", "batch_sampler"))]
    parts += [getattr(part, "sampler", None) for part in parts]
    own = {g for g in (getattr(part, "generator", None) for part in parts) if g is not None}
    states = [(generator, generator.get_state()) for generator in own]
    with torch.random.fork_rng(devices=devices):
        try:
            yield devices
        finally:
            for generator, state in states:
                generator.set_state(state)


@contextlib.contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Put buffers and the random streams back where they were."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with kept_streams(model):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])

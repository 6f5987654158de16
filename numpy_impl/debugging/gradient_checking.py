"""Whether a gradient is right: backward against slopes measured by central differences."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_impl.debugging.gradient_report import RIGHT, GradientReport, TensorCheck
from numpy_impl.losses.regression import Loss
from numpy_impl.module import Array, Module, no_grad
from numpy_impl.random import Generator
from numpy_impl.training.non_finite import kept_streams, streams_of

__all__ = ["gradient_check"]

EPS = float(np.finfo(np.float64).eps)
NOISE = 16  # as in the parity budget: so many times what one ulp of every input moves
NEARER = 8, 64  # how many times shorter the steps of the closer look are
BENT = 1e-3  # a layer whose output bends by this share of its change within the step has a kink


def gradient_check(
    model: Module,
    inputs: Sequence[Array],
    target: Array | None = None,
    criterion: Loss | None = None,
    *,
    eps: float = 6e-6,
    sample: int | None = None,
    directions: int | None = None,
    generator: Generator | None = None,
) -> GradientReport:
    """Hold a module's backward against central differences: every parameter and every float input.

        numeric  = (f(w + eps v) - f(w - eps v)) / (2 eps)
        analytic = <dw, v>
        error    = |numeric - analytic| / max(|numeric|, |analytic|)

    f is the criterion's value, or without one the sum of all outputs weighted by random numbers
    (by ones, a softmax has no gradient to check). v is one coordinate after the other, or a random
    direction of entries +-1/sqrt(n), which costs two forwards however large the tensor is. `eps`
    is near the cube root of the machine's: below it rounding grows like 1/eps, above it the
    truncation like eps^2 (`step_size_sweep` shows both).

    An error up to 1e-6 is right, up to 1e-3 doubtful, above it wrong; what rounding accounts for,
    16 times what one ulp more or less in every number moves f, over eps, is right too. Before a
    place is called anything else, steps 8 and 64 times shorter look again: a ReLU, an |x|, a max or
    a clamp whose kink lies within the step is named as a kink. At the kink itself, or nearer to it
    than 1e-7, every slope between those of its two sides will do.

    All of it runs on a copy in float64, so the model stays as it is, whatever happens. Every
    forward sees the random numbers and the buffers that the first one saw: dropout keeps its mask,
    batch norm its running statistics. Frozen parameters are not checked.

    Args:
        target, criterion: of the loss; both or neither.
        sample: how many elements of each tensor to check, drawn at random; None checks them all.
        directions: how many random directions to check each tensor along, instead of elements.
        generator: where places, directions and weights are drawn; None starts a fresh one, so that
            the same call gives the same report.

    Raises:
        ValueError: sample and directions together or not positive, eps not positive, f not finite
            or not the same when it is run again (random numbers from elsewhere than a Generator).
        TypeError: an output is not an array, or backward gives too few gradients of inputs.
    """
    check_options(eps, sample, directions)
    generator = generator or Generator()
    with kept_streams():
        problem = problem_of(model, inputs, target, criterion, generator)
        return report_of(problem, eps, sample, directions, generator)


# ---- what is checked ---------------------------------------------------------------------------


@dataclass
class Problem:
    """A number that depends on named arrays, which may be moved in place, and their gradients."""

    function: Callable[[], Any]
    tensors: Mapping[str, Array]
    streams: Sequence[Generator]
    modules: Sequence[tuple[str, Module]] = ()
    buffers: Mapping[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)
    _states: list[tuple[Generator, Any]] = field(default_factory=list)
    _kept: dict[str, Array] = field(default_factory=dict)

    def settle(self) -> None:
        """Look what a run draws and tracks, so that every later one starts where it did."""
        self._states = [(stream, stream.get_state()) for stream in self.streams]
        self._kept = {name: buffer.copy() for name, buffer in self.buffers.items()}
        first = self.value()
        self._states = [  # to put back one that nobody draws from would cost more than a forward
            (stream, state)
            for stream, state in self._states
            if pickle.dumps(stream.get_state()) != pickle.dumps(state)
        ]
        again = self.value()
        if not math.isfinite(first):
            raise ValueError(f"the number whose gradient is checked must be finite, got {first}")
        if first != again:
            raise ValueError(
                f"two runs gave {first!r} and {again!r}: something draws random numbers that no "
                "Generator of the model or of numpy_impl holds; hand it its noise, or take it out"
            )
        self.start()

    def start(self) -> None:
        """Put random streams and buffers back where the first run found them."""
        for stream, state in self._states:
            stream.set_state(state)
        for name, buffer in self.buffers.items():
            buffer[...] = self._kept[name]

    def value(self) -> float:
        """The number, for the arrays as they are."""
        self.start()
        found = self.function()
        if np.ndim(found):
            raise ValueError(f"wanted one number to differentiate, got shape {np.shape(found)}")
        return float(found)


def problem_of(
    model: Module,
    inputs: Sequence[Array],
    target: Array | None,
    criterion: Loss | None,
    generator: Generator,
) -> Problem:
    """A copy of the model in float64 with its loss, ready to be moved; its gradients are there."""
    if (target is None) != (criterion is None):
        raise ValueError("a loss takes a target and a criterion: pass both or neither")
    twin, loss = copy.deepcopy((model, criterion))
    twin.double()
    twin.needs_input_grad = True
    for p in twin.parameters():
        p.data, p.grad = wide(p.data), None
    given = [wide(x) for x in inputs]
    if loss is not None:
        loss.double()
        target = wide(target)
    weights: list[Array] = []

    def number() -> Any:
        y = twin(*given)
        parts = y if isinstance(y, tuple) and loss is None else (y,)
        for part in parts:
            if not isinstance(part, np.ndarray | np.generic):
                what = "arrays" if loss is None else "one array for the loss"
                raise TypeError(f"the model must give {what}, got {type(part).__name__}")
        if loss is not None:
            return loss(y, target)
        if not weights:
            drawn = [generator.rand(part.shape, np.float64) for part in parts]
            weights.extend(np.asarray(2 * x - 1) for x in drawn)
        return sum(np.sum(part * weight) for part, weight in zip(parts, weights))

    def quietly() -> Any:
        with no_grad(), np.errstate(all="ignore"):
            return number()

    checked = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    floats = {f"input {i}": x for i, x in enumerate(given) if x.dtype.kind == "f"}
    modules = [(name, m) for name, m in twin.named_modules() if not list(m.children())]
    if loss is not None:
        modules.append(("the criterion", loss))
    problem = Problem(
        quietly,
        {name: p.data for name, p in checked.items()} | floats,
        streams_of(twin),
        modules,
        dict(twin.named_buffers()),
    )
    problem.settle()
    number()
    backward: Callable[..., Any] = twin.backward
    found = backward(*(weights if loss is None else [loss.backward()]))
    dx = [g for g in (found if isinstance(found, tuple) else (found,)) if g is not None]
    if len(dx) != len(floats):
        raise TypeError(f"backward must give {len(floats)} gradients of inputs, got {len(dx)}")
    for name, p in checked.items():
        problem.gradients[name] = np.zeros(p.shape) if p.grad is None else p.grad
    problem.gradients |= dict(zip(floats, dx))
    return problem


# ---- the check ---------------------------------------------------------------------------------


def report_of(
    problem: Problem,
    eps: float,
    sample: int | None,
    directions: int | None,
    generator: Generator,
) -> GradientReport:
    """Every tensor of a problem against its slopes."""
    noise = NOISE * _moved_by_an_ulp(problem, generator)
    checks = []
    for name, tensor in problem.tensors.items():
        gradient = problem.gradients[name]
        if gradient.shape != tensor.shape:
            raise ValueError(
                f"the gradient of {name} must have its shape {tensor.shape}, got {gradient.shape}"
            )
        check = TensorCheck(name, tensor.shape, directions is not None)
        for place, v in _probes(tensor, sample, directions, generator):
            check.places.append(place)
            _look(problem, check, tensor, gradient, v, eps, noise)
        checks.append(check)
    return GradientReport(checks)


def _probes(
    tensor: Array, sample: int | None, directions: int | None, generator: Generator
) -> Iterator[tuple[int, Any]]:
    """Elements by their flat index, or directions by their number, each with what to move."""
    n = tensor.size
    if directions is None:
        some = sample is not None and sample < n
        for place in sorted(generator.randperm(n)[:sample].tolist()) if some else range(n):
            yield place, np.unravel_index(place, tensor.shape)
    elif n:
        for number in range(directions):
            signs = 2.0 * generator.randint(0, 2, tensor.shape) - 1
            yield number, signs / math.sqrt(n)


def _look(
    problem: Problem,
    check: TensorCheck,
    tensor: Array,
    gradient: Array,
    v: Any,
    eps: float,
    noise: float,
) -> None:
    """Measure one slope and write it down; look closer where it does not agree."""
    analytic = float(gradient[v] if isinstance(v, tuple) else np.vdot(gradient, v))
    with _moved(problem, tensor, v) as at:
        slope, off, kink = _slope(at, analytic, eps, noise)
        found = _bent_layer(problem, at, eps) if kink else ""
    check.kinked += [found] if found and found not in check.kinked else []
    check.analytic.append(analytic)
    check.numeric.append(slope)
    check.error.append(off)
    check.kinks.append(kink)


def _slope(
    at: Callable[[float], float], analytic: float, eps: float, noise: float
) -> tuple[float, float, bool]:
    """The slope of `at` around 0, its error, and whether the step went over a kink."""

    def error(slope: float, step: float) -> float:
        gap, size = abs(slope - analytic), max(abs(slope), abs(analytic))
        if gap == 0:
            return 0.0
        return min(gap / size, RIGHT) if gap <= noise / step else gap / size

    above, below = at(eps), at(-eps)
    slope = (above - below) / (2 * eps)
    off, kink = error(slope, eps), False
    if off <= RIGHT:
        return slope, off, kink
    here = at(0.0)
    bend = (above - 2 * here + below) / eps  # how far apart the slopes of the two sides are
    # a kink takes the slope from one side's to the other's, so no further than half of that
    bent = abs(slope - analytic) <= abs(bend) / 2 * (1 + RIGHT) + noise / eps
    for nearer in NEARER:
        h = eps / nearer
        above, below = at(h), at(-h)
        near, near_bend = (above - below) / (2 * h), (above - 2 * here + below) / h
        gone = abs(near_bend - bend / nearer) > abs(bend) / (2 * nearer) + 4 * noise / h
        changed = abs(near - slope) > noise / h  # else rounding alone may bring it nearer
        if error(near, h) < off and (bent or changed):
            slope, off, kink = near, error(near, h), bent and gone
        if off <= RIGHT:
            return slope, off, kink
    # at the kink itself the two slopes stay apart however short the step
    apart = abs(near_bend) > 2 * abs(bend) / nearer + 4 * noise / h
    if apart and abs(analytic - near) <= abs(near_bend) / 2 * (1 + RIGHT) + noise / h:
        return near, 0.0, True
    return slope, off, kink


def _bent_layer(problem: Problem, at: Callable[[float], float], eps: float) -> str:
    """The first layer whose output does not follow the step in a straight line; empty if none."""
    outputs: list[dict[str, Array]] = []
    for step in (-eps, 0.0, eps):
        seen: dict[str, Array] = {}
        with contextlib.ExitStack() as stack:
            for name, module in problem.modules:

                def look(m: Module, args: Any, y: Any, name: str = name, seen: Any = seen) -> None:
                    if isinstance(y, np.ndarray | np.generic):
                        seen.setdefault(name, np.array(y, np.float64))

                stack.enter_context(module.register_forward_hook(look))
            at(step)
        outputs.append(seen)
    for name in outputs[1]:
        if not all(name in seen for seen in outputs):  # it runs on one side of a branch alone
            continue
        below, here, above = (seen[name] for seen in outputs)
        change = np.abs(above - here) + np.abs(here - below)
        bend = np.abs(above - 2 * here + below)
        if np.any(bend > BENT * change + 8 * EPS * np.abs(here)):
            return name
    return ""


@contextlib.contextmanager
def _moved(problem: Problem, tensor: Array, v: Any) -> Iterator[Callable[[float], float]]:
    """The number with the tensor moved along v, an index or a direction."""
    here = tensor[v].copy() if isinstance(v, tuple) else tensor.copy()

    def at(step: float) -> float:
        if isinstance(v, tuple):
            tensor[v] = here + step
        else:
            tensor[...] = here + step * v
        return problem.value()

    try:
        yield at
    finally:
        tensor[v if isinstance(v, tuple) else ...] = here


def _moved_by_an_ulp(problem: Problem, generator: Generator) -> float:
    """How far one ulp up or down in every number takes the value, the worse of two tries."""
    value, moved = problem.value(), 0.0
    for _ in range(2):
        held = {name: tensor.copy() for name, tensor in problem.tensors.items()}
        for tensor in problem.tensors.values():
            tensor *= 1 + EPS * (2.0 * generator.randint(0, 2, tensor.shape) - 1)
        moved = max(moved, abs(problem.value() - value))
        for name, tensor in problem.tensors.items():
            tensor[...] = held[name]
    return moved + EPS * abs(value)


# ---- small things ------------------------------------------------------------------------------


def check_options(eps: float, sample: int | None, directions: int | None) -> None:
    """Refuse options that contradict each other or are out of range."""
    if not 0 < eps < math.inf:
        raise ValueError(f"eps must be a positive number, got {eps}")
    if sample is not None and directions is not None:
        raise ValueError(f"check a sample or directions, got {sample=} and {directions=}")
    for name, value in (("sample", sample), ("directions", directions)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")


def wide(x: Any) -> Array:
    """A copy of our own, floats in float64."""
    x = np.asarray(x)
    return np.array(x, np.float64 if x.dtype.kind == "f" else x.dtype, order="C")

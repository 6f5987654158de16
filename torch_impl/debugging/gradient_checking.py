"""Whether a gradient is right: `torch.autograd.gradcheck`, tensor by tensor, and where it is not.

`gradcheck` perturbs its inputs in place and compares with `allclose`, so it wants float64 (its
defaults fail in float32 whatever the gradient), tensors that do not overlap, and a function that
gives the same twice. `torch.func.functional_call` makes a module such a function of its parameters
and buffers: the module's own are never touched. Its modes and hooks are the module's.

`fast_mode=True` multiplies the Jacobian by random vectors from either side, from a generator of its
own with a fixed seed, instead of building it; if that fails it builds it after all, for the
message. So it is handed a few numbers here, how far to go along each direction, and not a layer.
`nondet_tol=0` also makes it refuse a backward that does not give the same twice.

What gradcheck does not say is how far off, where, and whether the step went over a kink: it fails
at a ReLU's. So the slopes are taken here once more.
"""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck

from torch_impl.debugging.gradient_report import RIGHT, GradientReport, TensorCheck
from torch_impl.training.non_finite import kept_streams

__all__ = ["gradient_check"]

EPS = torch.finfo(torch.float64).eps
NOISE = 16  # as in the parity budget: so many times what one ulp of every input moves
NEARER = 8, 64  # how many times shorter the steps of the closer look are
BENT = 1e-3  # a layer whose output bends by this share of its change within the step has a kink

Value = Callable[[Mapping[str, Tensor]], Tensor]


def gradient_check(
    model: nn.Module,
    inputs: Sequence[Tensor],
    target: Tensor | None = None,
    criterion: nn.Module | None = None,
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

    All of it runs on copies in float64, so the model stays as it is, whatever happens. Every
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
            or not the same when it is run again (random numbers from elsewhere than torch).
        TypeError: an output is not a tensor.
    """
    check_options(eps, sample, directions)
    generator = generator or Generator()
    with problem_of(model, inputs, target, criterion, generator) as (value, tensors, modules):
        return report_of(value, tensors, eps, sample, directions, generator, modules)


@contextlib.contextmanager
def problem_of(
    model: nn.Module,
    inputs: Sequence[Tensor],
    target: Tensor | None,
    criterion: nn.Module | None,
    generator: Generator,
) -> Iterator[tuple[Value, dict[str, Tensor], dict[str, nn.Module]]]:
    """The number as a function of named tensors in float64, those tensors, and the layers."""
    if (target is None) != (criterion is None):
        raise ValueError("a loss takes a target and a criterion: pass both or neither")
    frozen = {k: wide(p) for k, p in model.named_parameters() if not p.requires_grad}
    buffers = {k: wide(b) for k, b in model.named_buffers()}
    tensors = {k: wide(p) for k, p in model.named_parameters() if p.requires_grad}
    given = {f"input {i}": wide(x) for i, x in enumerate(inputs)}
    tensors |= {k: x for k, x in given.items() if x.is_floating_point()}
    loss = copy.deepcopy(criterion)
    loss = loss.double() if isinstance(loss, nn.Module) else loss
    wanted = None if target is None else wide(target)
    weights: list[Tensor] = []

    def value(at: Mapping[str, Tensor]) -> Tensor:
        state = {k: v for k, v in at.items() if k not in given}
        state |= frozen | {k: b.clone() for k, b in buffers.items()}
        y = torch.func.functional_call(model, state, tuple(at.get(k, x) for k, x in given.items()))
        parts = y if isinstance(y, tuple) and loss is None else (y,)
        for part in parts:
            if not isinstance(part, Tensor):
                what = "tensors" if loss is None else "one tensor for the loss"
                raise TypeError(f"the model must give {what}, got {type(part).__name__}")
        if loss is not None:
            return loss(y, wanted)
        if not weights:
            kind: dict[str, Any] = {"dtype": torch.float64, "generator": generator}
            drawn = [torch.rand(part.shape, **kind) for part in parts]
            weights.extend((2 * x - 1).to(part.device) for x, part in zip(drawn, parts))
        return torch.stack([(p * w).sum() for p, w in zip(parts, weights)]).sum()

    modules = {k: m for k, m in model.named_modules() if not list(m.children())}
    if isinstance(loss, nn.Module):
        modules["the criterion"] = loss
    with same_draws(model, value, tensors) as repeated:
        yield repeated, tensors, modules


# ---- the check ---------------------------------------------------------------------------------


def report_of(
    value: Value,
    tensors: Mapping[str, Tensor],
    eps: float,
    sample: int | None,
    directions: int | None,
    generator: Generator,
    modules: Mapping[str, nn.Module] | None = None,
) -> GradientReport:
    """Every tensor of a problem against its slopes."""
    leaves = {name: x.clone().requires_grad_() for name, x in tensors.items()}
    all_used = torch.cat([x.flatten()[:0] for x in leaves.values()]).sum()  # exactly 0
    found = torch.autograd.grad(value(leaves) + all_used, list(leaves.values()))
    noise = NOISE * _moved_by_an_ulp(value, tensors, generator)
    checks = []
    for (name, tensor), gradient in zip(tensors.items(), found):
        check = TensorCheck(name, tuple(tensor.shape), directions is not None)
        check.places, probes = _probes(tensor, sample, directions, generator)
        checks.append(check)
        if not check.places:
            continue
        if directions is None:
            analytic = gradient.flatten()[probes]
        else:
            analytic = (probes * gradient).flatten(1).sum(1)

        def along(go: Tensor, name: str = name, tensor: Tensor = tensor, v: Any = probes) -> Tensor:
            """The number, having gone so far along each probe."""
            if directions is None:
                moved = tensor.flatten().index_add(0, v, go).view_as(tensor)
            else:
                moved = tensor + torch.tensordot(go, v, dims=1)
            return value({**tensors, name: moved}) + go[:0].sum()

        go = tensor.new_zeros(len(check.places))
        holds = _gradcheck(along, go, eps, noise, directions is not None, name)
        for i, slope in enumerate(analytic.tolist()):
            with torch.no_grad():
                _look(check, along, go, i, slope, eps, noise, holds, modules or {})
    return GradientReport(checks)


def _gradcheck(
    along: Callable[[Tensor], Tensor], go: Tensor, eps: float, noise: float, fast: bool, name: str
) -> bool:
    """The framework's verdict on all places of a tensor together."""
    here = go.clone().requires_grad_()
    atol, rtol = noise / eps / 2, RIGHT / 2  # it allows their sum, the bands the larger
    try:
        return gradcheck(along, (here,), eps=eps, atol=atol, rtol=rtol, fast_mode=fast)
    except GradcheckError as error:
        if "Jacobian mismatch" not in str(error):  # a backward that gives something else each time
            raise ValueError(f"gradcheck refuses {name}: {error}") from error
        return False


def _look(
    check: TensorCheck,
    along: Callable[[Tensor], Tensor],
    go: Tensor,
    i: int,
    analytic: float,
    eps: float,
    noise: float,
    holds: bool,
    modules: Mapping[str, nn.Module],
) -> None:
    """Measure one slope and write it down; look closer where gradcheck did not hold."""

    def at(step: float) -> float:
        there = go.clone()
        there[i] = step
        return along(there).item()

    slope, off, kink = _slope(at, analytic, eps, noise, holds)
    found = _bent_layer(at, eps, modules) if kink else ""
    check.kinked += [found] if found and found not in check.kinked else []
    check.analytic.append(analytic)
    check.numeric.append(slope)
    check.error.append(off)
    check.kinks.append(kink)


def _slope(
    at: Callable[[float], float], analytic: float, eps: float, noise: float, holds: bool
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
    if holds or off <= RIGHT:
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


def _bent_layer(at: Callable[[float], float], eps: float, modules: Mapping[str, nn.Module]) -> str:
    """The first layer whose output does not follow the step in a straight line; empty if none."""
    outputs: list[dict[str, Tensor]] = []
    for step in (-eps, 0.0, eps):
        seen: dict[str, Tensor] = {}
        with contextlib.ExitStack() as stack:
            for name, module in modules.items():

                def look(m: Any, args: Any, y: Any, name: str = name, seen: Any = seen) -> None:
                    if isinstance(y, Tensor):
                        seen.setdefault(name, y.to(torch.float64, copy=True))

                stack.enter_context(module.register_forward_hook(look))
            at(step)
        outputs.append(seen)
    for name in outputs[1]:
        if not all(name in seen for seen in outputs):  # it runs on one side of a branch alone
            continue
        below, here, above = (seen[name] for seen in outputs)
        change = (above - here).abs() + (here - below).abs()
        bend = (above - 2 * here + below).abs()
        if (bend > BENT * change + 8 * EPS * here.abs()).any():
            return name
    return ""


def _probes(
    tensor: Tensor, sample: int | None, directions: int | None, generator: Generator
) -> tuple[list[int], Tensor]:
    """Flat indices, or directions and their numbers."""
    n = tensor.numel()
    if directions is None:
        some = sample is not None and sample < n
        places = torch.randperm(n, generator=generator)[:sample] if some else torch.arange(n)
        places = places.sort().values.to(tensor.device)
        return places.tolist(), places
    drawn = [signs_like(tensor, generator) for _ in range(directions if n else 0)]
    if not drawn:
        return [], tensor
    return list(range(directions)), torch.stack(drawn) / math.sqrt(n)


def signs_like(tensor: Tensor, generator: Generator) -> Tensor:
    """Random numbers 1 and -1, in the shape and dtype of a tensor."""
    drawn = torch.randint(0, 2, tensor.shape, generator=generator)
    return (2 * drawn - 1).to(tensor)


@torch.no_grad()
def _moved_by_an_ulp(value: Value, tensors: Mapping[str, Tensor], generator: Generator) -> float:
    """How far one ulp up or down in every number takes the value, the worse of two tries."""
    here, moved = value(tensors).item(), 0.0
    for _ in range(2):
        there = {k: x * (1 + EPS * signs_like(x, generator)) for k, x in tensors.items()}
        moved = max(moved, abs(value(there).item() - here))
    return moved + EPS * abs(here)


@contextlib.contextmanager
def same_draws(
    model: nn.Module | None, value: Value, tensors: Mapping[str, Tensor]
) -> Iterator[Value]:
    """A number that draws the same every time; the random streams are put back in the end."""
    with kept_streams(model if model is not None else nn.Identity()) as devices:
        state, states = torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in devices]

        def repeated(at: Mapping[str, Tensor]) -> Tensor:
            torch.set_rng_state(state)
            for device, of_device in zip(devices, states):
                torch.cuda.set_rng_state(of_device, device)
            number = value(at)
            if number.ndim:
                raise ValueError(
                    f"wanted one number to differentiate, got shape {tuple(number.shape)}"
                )
            return number

        with torch.no_grad():
            first, again = repeated(tensors).item(), repeated(tensors).item()
        if not math.isfinite(first):
            raise ValueError(f"the number whose gradient is checked must be finite, got {first}")
        if first != again:
            raise ValueError(
                f"two runs gave {first!r} and {again!r}: something draws random numbers from "
                "elsewhere than torch's generators; hand it its noise, or take it out"
            )
        yield repeated


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


def wide(x: Tensor) -> Tensor:
    """A copy of our own, floats in float64."""
    x = x.detach().clone(memory_format=torch.contiguous_format)
    return x.double() if x.is_floating_point() else x

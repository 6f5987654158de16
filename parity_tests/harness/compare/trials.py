"""What both sides are fed when somebody's code is compared: shapes, regimes, random state.

Every float is random, gamma and beta and the gradient from above included; sizes are as the caller
gave them, and one trial has another batch size, so that 1/N and 1/4 are told apart.
"""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_names import Ran
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.inputs import REGIMES

Array = np.ndarray[Any, np.dtype[Any]]

EXTRA_REGIMES = ("tiny", "large", "ties", "zeros", "offset", "huge")
BATCH_STEP = 3
BELOW = "mostly negative"
"""Where a window of ordinary numbers hardly ever is: all below 0."""

Grow = Callable[[tuple[int, ...]], tuple[int, ...]]
"""The shape of an input of a trial, from the one that the caller gave."""


def unchanged(shape: tuple[int, ...]) -> tuple[int, ...]:
    """As given."""
    return shape


def larger_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """More along the first axis."""
    return (shape[0] + BATCH_STEP, *shape[1:]) if shape else ()


@dataclass(frozen=True)
class Spec:
    """One input: its shape, and which numbers it takes.

    `kind` is "float", "unit" (between 0 and 1), "positive", "int" (from `low` below `high`),
    "bool" or "simplex" (rows that sum to 1). `value` is what the caller handed over, if anything.
    """

    shape: tuple[int, ...]
    kind: str = "float"
    low: int = 0
    high: int = 2
    value: Array | None = None

    def draw(self, rng: np.random.Generator, regime: str, shape: tuple[int, ...]) -> Array:
        """Numbers of this kind."""
        if self.kind == "int":
            return np.asarray(rng.integers(self.low, self.high, shape))
        if self.kind == "bool":
            return np.asarray(rng.integers(0, 2, shape).astype(bool))
        if self.kind == "unit" and regime == "edges":
            return np.asarray(np.clip(rng.uniform(-0.5, 1.5, shape), 0, 1))
        if self.kind == "unit":
            return np.asarray(rng.uniform(0.02, 0.98, shape))
        if self.kind == "simplex":
            raw = rng.uniform(0.1, 1, shape)
            return np.asarray(raw / raw.sum(-1, keepdims=True))
        x = np.asarray(REGIMES.get(regime, REGIMES["unit"])(rng, shape), dtype=float)
        x = x - 2 if regime == BELOW and self.kind == "float" else x
        return np.abs(x) + (1e-3 if regime == "unit" else 0) if self.kind == "positive" else x

    @classmethod
    def of(cls, given: Any) -> Spec:
        """From an array, a tuple of sizes, or text: 4x8, 4x8:unit, 5:int10, 6:bool."""
        if isinstance(given, Spec):
            return given
        if isinstance(given, torch.Tensor):
            given = given.detach().cpu().numpy()
        if isinstance(given, np.ndarray | np.generic):
            x = np.asarray(given)
            if x.dtype.kind == "b":
                return cls(x.shape, "bool", value=x)
            if x.dtype.kind in "iu":
                low, top = (int(x.min()), int(x.max()) + 1) if x.size else (0, 1)
                return cls(x.shape, "int", low, top, x)
            if x.dtype.kind != "f":
                raise Uncomparable(
                    f"an input has dtype {x.dtype}; wanted floats, integers or bools"
                )
            kind = "float"
            if x.size and np.all(x >= 0):
                simplex = x.ndim and np.allclose(x.sum(-1), 1) and x.shape[-1] > 1
                kind = (
                    "simplex"
                    if simplex
                    else "unit"
                    if np.all(x <= 1) and x.max() > 0
                    else "positive"
                )
                kind = "float" if not np.any(x) else kind
            return cls(x.shape, kind, value=x.astype(np.float64))
        if isinstance(given, tuple | list) and all(isinstance(n, int | np.integer) for n in given):
            return cls(tuple(int(n) for n in given))
        match = re.fullmatch(
            r"([\dx,]*)(?::(float|unit|positive|simplex|bool|int)(\d*))?", str(given)
        )
        if not match:
            raise Uncomparable(
                f"an input is an array, a tuple of sizes, or text like 4x8, 4x8:unit or 5:int10; "
                f"got {given!r}"
            )
        sizes, word, high = match.groups()
        shape = tuple(int(n) for n in re.split("[x,]", sizes) if n)
        return cls(shape, word or "float", 0, int(high or 2))


@dataclass
class Trial:
    """One set of numbers, and what both sides made of it.

    One that `confirms` is not reported: it only says whether a cause found on others holds.
    """

    name: str
    regime: str
    mode: str
    seed: int
    given: dict[str, Array]
    set_buffers: bool = True
    warm: list[dict[str, Array]] = field(default_factory=list)
    user: Ran = field(default_factory=Ran)
    reference: dict[str, Array] = field(default_factory=dict)
    noise: dict[str, list[Array]] = field(default_factory=dict)
    allowed: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    margin: float = float("inf")
    confirms: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is one of ordinary numbers, on which causes are sought first."""
        return self.regime in ("unit", "given") and not self.warm


def state_for(reference: Reference, rng: np.random.Generator, flat: set[str]) -> dict[str, Array]:
    """Random parameters and buffers; those in `flat` are filled with one number."""
    state = {}
    for key, like in reference.state.items():
        if like.dtype.kind != "f":
            state[f"state {key}"] = np.array(3, dtype=like.dtype)
            continue
        if key.endswith("running_var"):
            value = rng.uniform(0.5, 2.0, like.shape)
        else:
            fan_in = int(np.prod(like.shape[1:])) if like.ndim > 1 else 1
            value = rng.standard_normal(like.shape) / np.sqrt(max(fan_in, 1))
            if like.ndim == 1 and key.rsplit(".", 1)[-1] == "weight":
                value += np.sign(value) * 0.25  # a scale near 0 hides what it multiplies
        if key in flat:
            value = np.full(like.shape, value.flat[0])
        state[f"state {key}"] = np.asarray(value, dtype=np.float64)
    return state


def default_specs(reference: Reference) -> list[Spec]:
    """Inputs for well-known torch modules; an error for the others."""
    m, nn = reference.module, torch.nn
    if m is not None and not isinstance(m, nn.Linear) and reference.is_module:
        first = next((c for c in m.modules() if not list(c.children())), m)
        m = first if type(m).__module__.endswith("container") else m
    if isinstance(m, nn.Linear):
        return [Spec((5, m.in_features))]
    if isinstance(m, nn.LayerNorm | nn.RMSNorm):
        return [Spec((5, *m.normalized_shape))]
    if isinstance(m, nn.BatchNorm1d):
        return [Spec((7, m.num_features))]
    if isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d):
        return [Spec((4, m.num_features, 3, 5))]
    if isinstance(m, nn.GroupNorm):
        return [Spec((3, m.num_channels, 5))]
    if isinstance(m, nn.Conv1d):
        return [Spec((2, m.in_channels, 3 * m.kernel_size[0] + 2))]
    if isinstance(m, nn.Conv2d):
        h, w = (2 * k + 3 for k in m.kernel_size)
        return [Spec((2, m.in_channels, int(h), int(w) + 1))]
    if isinstance(m, nn.Embedding):
        return [Spec((3, 5), "int", 0, m.num_embeddings)]
    if isinstance(m, nn.LSTM | nn.GRU | nn.RNN):
        return [Spec((3, 4, m.input_size) if m.batch_first else (4, 3, m.input_size))]
    if isinstance(m, nn.CrossEntropyLoss | nn.NLLLoss):
        return [Spec((6, 5)), Spec((6,), "int", 0, 5)]
    if isinstance(m, nn.BCELoss):
        return [Spec((6, 5), "unit"), Spec((6, 5), "unit")]
    if isinstance(m, nn.BCEWithLogitsLoss):
        return [Spec((6, 5)), Spec((6, 5), "unit")]
    if isinstance(m, nn.KLDivLoss):
        return [Spec((6, 5)), Spec((6, 5), "simplex")]
    if isinstance(m, nn.modules.loss._Loss):
        return [Spec((6, 5)), Spec((6, 5))]
    if (
        m is not None
        and type(m).__module__ == "torch.nn.modules.activation"
        and not list(m.parameters())
    ):
        return [Spec((5, 4))]
    if isinstance(m, nn.modules.dropout._DropoutNd):
        return [Spec((50, 40))]
    raise Uncomparable(
        f"say what {reference.name} is fed: inputs=((4, 8),), arrays, or --input 4x8"
    )


def plan(
    specs: Sequence[Spec],
    reference: Reference,
    seed: int,
    flat: set[str],
    regimes: Sequence[str],
    modes: Sequence[str],
    buffers: bool,
    target: Spec | None,
) -> list[Trial]:
    """The trials, ordinary numbers first."""
    trials: list[Trial] = []

    def add(name: str, regime: str, mode: str, grow: Grow = unchanged, **options: Any) -> None:
        try:
            trials.append(
                _trial(specs, reference, seed, flat, target, name, regime, mode, grow, **options)
            )
        except Uncomparable:
            if not trials:
                raise

    handed = any(s.value is not None for s in specs)
    first, *other_modes = modes
    if handed:
        add("the inputs given", "given", first)
    add("ordinary numbers", "unit", first)
    add("ordinary numbers, another draw", "unit", first)
    if specs and all(s.shape for s in specs):
        add("ordinary numbers, a larger batch", "unit", first, larger_batch)
    for mode in other_modes:
        add(f"ordinary numbers, {mode} mode", "unit", mode)
    if buffers:
        add("ordinary numbers, state as built", "unit", first, set_buffers=False)
        add("in eval mode after 3 training steps", "unit", "eval", set_buffers=False, warm=3)
    if any(s.kind == "unit" for s in specs) and regimes:
        add("numbers at 0 and 1", "edges", first)
    for regime in regimes:
        if any(s.kind in ("float", "positive") for s in specs):
            add(f"{regime} numbers", regime, first)
    return trials


def elsewhere(
    specs: Sequence[Spec],
    reference: Reference,
    seed: int,
    flat: set[str],
    mode: str,
    target: Spec | None,
    regime: str,
) -> Iterator[Trial]:
    """Numbers in other shapes, then in the same, as far as torch takes them: to confirm a cause."""
    for grow in (*_growths(specs), unchanged):
        name = f"{regime} numbers, other shapes"
        with contextlib.suppress(Uncomparable):
            yield _trial(
                specs, reference, seed, flat, target, name, regime, mode, grow, confirms=True
            )


def _growths(specs: Sequence[Spec]) -> Iterator[Grow]:
    """Ways to enlarge every axis but the first: all of them, those of space, all but the last."""
    ndim = max((len(s.shape) for s in specs), default=0)
    whole = tuple(range(1, ndim))
    choices = dict.fromkeys((whole, whole[1:], whole[:-1], whole[:1]))
    for axes in choices:
        for factor in (1, 2) if axes else ():  # what pools or splits may want even sizes
            yield functools.partial(_grown, axes, factor)


def _grown(axes: tuple[int, ...], factor: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    extra = (lambda axis: axis) if factor == 1 else (lambda axis: 0)
    return tuple(n * factor + extra(axis) if axis in axes else n for axis, n in enumerate(shape))


def _trial(
    specs: Sequence[Spec],
    reference: Reference,
    seed: int,
    flat: set[str],
    target: Spec | None,
    name: str,
    regime: str,
    mode: str,
    grow: Grow,
    warm: int = 0,
    **options: Any,
) -> Trial:
    """One trial; Uncomparable if torch refuses it."""
    number = zlib.crc32(f"{name}/{mode}".encode())
    rng = np.random.default_rng([seed, number])
    given: dict[str, Array] = state_for(reference, rng, flat)
    inputs = _draw(specs, rng, regime, grow)
    given |= {f"input {i}": x for i, x in enumerate(inputs)}
    try:
        shaped = reference.run(
            {k: v for k, v in given.items() if not k.startswith("state")}, mode, backward=False
        )
        outputs = [v for k, v in shaped.items() if k.startswith("forward output")]
    except Exception as error:
        raise Uncomparable(
            f"torch's {reference.name} refuses inputs of shape "
            f"{', '.join(str(x.shape) for x in inputs)}: {error}"
        ) from error
    for i, y in enumerate(outputs):
        if y.dtype.kind == "f":
            given[f"cotangent{f' {i}' if i else ''}"] = np.asarray(rng.standard_normal(y.shape))
    if reference.loss is not None:
        kind = target or Spec(outputs[0].shape)
        shape = grow(kind.shape) if target is not None else kind.shape
        kept = kind.value if shape == kind.shape else None
        given["target"] = kind.draw(rng, "unit", shape) if kept is None else kept
    earlier = [
        {f"input {i}": x for i, x in enumerate(_draw(specs, rng, regime, grow))}
        for _ in range(warm)
    ]
    return Trial(name, regime, mode, int(number % 2**31), given, warm=earlier, **options)


def _draw(specs: Sequence[Spec], rng: np.random.Generator, regime: str, grow: Grow) -> list[Array]:
    found = []
    for spec in specs:
        if regime == "given":
            x = spec.value if spec.value is not None else spec.draw(rng, "unit", spec.shape)
        else:
            x = spec.draw(rng, regime, grow(spec.shape))
        found.append(np.array(x))
    return found

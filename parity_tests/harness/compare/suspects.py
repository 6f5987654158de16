"""Suspicions: ways in which the code could have gone wrong, each as a program to run.

Some need no knowledge of the technique: torch itself with one option changed, a parameter ignored,
a kernel flipped, gates in another order, the mode swapped. The others are the mistakes that the
suite declares for this very technique (see `Case.mistakes`). One that gives the user's numbers, all
of them, is the cause.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from parity_tests.harness.compare import lexicon
from parity_tests.harness.compare.locate import renamed
from parity_tests.harness.compare.reference import Change, Reference
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


CANDIDATES: dict[str, tuple[float, ...]] = {
    "eps": (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 0.0),
    "negative_slope": (0.01, 0.1, 0.2, 0.25, 0.3, 1 / 3),
    "threshold": (0.0, 20.0, 40.0, 100.0, 1000.0),
}


CHOICES: dict[str, tuple[str, ...]] = {
    "reduction": ("mean", "sum", "none", "batchmean"),
    "approximate": ("none", "tanh"),
    "nonlinearity": ("tanh", "relu"),
    "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    "mode": ("nearest", "bilinear", "bicubic", "linear"),
}


SOLVED = "solved"
"""The source of a suspect whose number was solved for: where that was done, it is always near."""


@dataclass
class Suspect:
    """One suspicion: what it is called, in words, how to run it, and how far-fetched it is."""

    name: str
    text: str
    run: Callable[[Trial, bool], Mapping[str, Array]]
    cost: float = 1.0
    source: str = "reference"
    change: Change | None = None


def changed(
    reference: Reference, name: str, text: str, change: Change, cost: float = 1.0
) -> Suspect:
    """The reference run with a change."""

    def run(trial: Trial, backward: bool = True) -> Mapping[str, Array]:
        found = reference.run(
            trial.given,
            trial.mode,
            trial.seed,
            trial.set_buffers,
            trial.warm,
            change,
            backward=backward,
        )
        return renamed(trial, found)

    return Suspect(name, text, run, cost, "reference", change)


def generic(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    """Torch itself, changed in one way, without knowledge of the technique."""
    yield from _options(reference, trial)
    yield from _state(reference)
    yield from _unbiased(reference, trial)
    yield from _data(reference, trial)


def _options(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    ndim = trial.given["input 0"].ndim if "input 0" in trial.given else 0
    for name, value in reference.config().items():
        if name in ("inplace", "device", "dtype"):
            continue
        for other in _other_values(name, value, ndim):
            shown = f"{other:g}" if isinstance(other, float) else repr(other)
            yield changed(
                reference,
                f"{name}={shown}",
                f"yours does what torch does with {name}={shown}; the reference has "
                f"{name}={value!r}",
                Change(config={name: other}),
                1.0 if not isinstance(value, float) else 1.2,
            )


def _other_values(name: str, value: Any, ndim: int) -> list[Any]:
    if value is None:  # RMSNorm's eps: the dtype's own
        return list(CANDIDATES.get(name, ()))
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, float):
        found = list(CANDIDATES.get(name, ()))
        found += [1 - value, 0.0, 2 * value, value / 2, -value, value**2]
        found += [math.sqrt(value)] if value > 0 else []
        found += [1 / value] if value else []
        keep = [v for v in dict.fromkeys(found) if v != value]
        return keep
    if isinstance(value, str):
        return [v for v in CHOICES.get(name, ()) if v != value]
    if isinstance(value, int):
        if name in ("dim", "axis", "start_dim", "end_dim"):
            return [d for d in range(ndim) if d != value % max(ndim, 1)]
        if name == "ignore_index":
            return [0] if value else [-100]
        if name == "padding_idx":
            return [None]
        if name in (
            "padding",
            "stride",
            "dilation",
            "groups",
            "num_groups",
            "num_heads",
            "ceil_mode",
        ):
            return [v for v in (value - 1, value + 1, 1) if v >= 0 and v != value]
        return []
    if isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        if name in ("padding", "stride", "dilation"):
            return [tuple(v + d for v in value) for d in (-1, 1) if min(value) + d >= 0]
        return []
    if value is None and name == "dim":
        return [0, 1, -1]
    return []


def _state(reference: Reference) -> Iterator[Suspect]:
    functions: list[tuple[str, str, Callable[[torch.Tensor], torch.Tensor], float]] = [
        ("{} ignored", "yours ignores {}: it computes as if it were 0", lambda p: p * 0, 1.0),
        (
            "{} taken as 1",
            "yours ignores {}: it computes as if it were 1",
            lambda p: p * 0 + 1,
            1.0,
        ),
        ("1 + {}", "yours uses 1 + {} where the reference uses {}", lambda p: 1 + p, 1.3),
        ("-{}", "yours uses -{} where the reference uses {}", lambda p: -p, 1.3),
        ("2 * {}", "yours uses 2 * {} where the reference uses {}", lambda p: 2 * p, 1.4),
        ("{} twice", "yours applies {} twice", lambda p: p * p, 1.4),
        ("|{}|", "yours uses |{}|", lambda p: p.abs(), 1.6),
        ("exp({})", "yours uses exp({})", lambda p: p.exp(), 1.8),
    ]
    for key in reference.parameters:
        shape = reference.state[key].shape
        for name, text, function, cost in functions:
            yield changed(
                reference,
                name.format(key),
                text.replace("{}", key),
                Change(state={key: function}),
                cost,
            )
        if len(shape) == 2 and shape[0] == shape[1] > 1:
            yield changed(
                reference,
                f"{key} transposed",
                f"yours uses {key} transposed: stored (in, out) where torch "
                f"stores (out, in). It is "
                f"square, so no shape error showed it; say "
                f"params={{'...': '{key}.T'}} to map it so",
                Change(state={key: lambda p: p.T}),
            )
        if len(shape) >= 3:
            dims = tuple(range(2, len(shape)))
            yield changed(
                reference,
                f"{key} flipped",
                f"yours uses {key} flipped along its spatial axes: a true convolution, where torch "
                "computes a cross-correlation",
                Change(state={key: _flipper(*dims)}),
            )
            for dim in range(len(shape)):
                yield changed(
                    reference,
                    f"{key} flipped along axis {dim}",
                    f"yours uses {key} flipped along axis {dim}",
                    Change(state={key: _flipper(dim)}),
                    1.3,
                )
            if len(shape) == 4 and shape[2] == shape[3] > 1:
                yield changed(
                    reference,
                    f"{key} spatially transposed",
                    f"yours uses {key} with its two spatial axes swapped",
                    Change(state={key: lambda p: p.transpose(2, 3)}),
                    1.3,
                )
    gates = {
        torch.nn.LSTM: "ifgo",
        torch.nn.LSTMCell: "ifgo",
        torch.nn.GRU: "rzn",
        torch.nn.GRUCell: "rzn",
    }
    modules = dict(reference.module.named_modules()) if reference.module else {}
    inner = next((p for p, m in modules.items() if type(m) in gates), None)
    names = gates[type(modules[inner])] if inner is not None else ""
    cells = [k for k in reference.parameters if k.startswith(f"{inner}.") or not inner]
    cells = [k for k in cells if "_ih" in k or "_hh" in k]
    if names:
        yield from _gate_bias(reference, names, cells)
    for order in itertools.permutations(range(len(names))) if names else []:
        if list(order) == sorted(order):
            continue
        blocks = list(order)

        def reorder(p: torch.Tensor, blocks: list[int] = blocks) -> torch.Tensor:
            parts = p.chunk(len(blocks), 0)
            return torch.cat([parts[i] for i in np.argsort(blocks)], 0)

        letters = "".join(names[i] for i in blocks)
        yield changed(
            reference,
            f"gates {letters}",
            f"yours has the gates in the order {letters}; torch has {names}. "
            f"params={{'...': '...{blocks}'}} maps such a layout",
            Change(state={k: reorder for k in cells}),
        )


def _gate_bias(reference: Reference, names: str, cells: list[str]) -> Iterator[Suspect]:
    """A constant 1 in the bias of one gate, as Keras starts its forget gate."""
    bias = next((k for k in cells if "bias" in k), None)
    for n, gate in enumerate(names) if bias else []:

        def add(p: torch.Tensor, n: int = n) -> torch.Tensor:
            one = torch.zeros_like(p)
            size = len(p) // len(names)
            one[n * size : (n + 1) * size] = 1
            return p + one

        assert bias is not None
        yield changed(
            reference,
            f"1 in the bias of gate {gate}",
            f"yours adds 1 to the bias of gate {gate} ({names} are torch's gates)",
            Change(state={bias: add}),
            1.2,
        )


def _unbiased(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    """A norm by the variance with ddof=1: the same as another scale and another eps."""
    nn, config = torch.nn, reference.config()
    x = trial.given.get("input 0")
    if x is None or "weight" not in reference.parameters or "eps" not in config:
        return
    if isinstance(reference.module, nn.LayerNorm):
        count = float(np.prod(reference.module.normalized_shape))
    elif isinstance(reference.module, nn.GroupNorm):
        count = x[0].size / reference.module.num_groups
    elif isinstance(reference.module, nn.modules.instancenorm._InstanceNorm):
        count = x[0, 0].size
    else:  # a batch norm's count changes with the batch
        return
    if count > 1:
        share = (count - 1) / count
        yield changed(
            reference,
            "ddof=1",
            f"yours divides by the standard deviation with ddof=1 (n-1 = {count - 1:g}); the "
            "reference normalises by the biased variance (ddof=0)",
            Change({"eps": config["eps"] * share}, {"weight": lambda w: w * share**0.5}),
            1.1,
        )


def _data(reference: Reference, trial: Trial) -> Iterator[Suspect]:
    inputs = [x for k, x in trial.given.items() if k.startswith("input")]

    def on(i: int, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        return lambda xs: [function(x) if j == i else x for j, x in enumerate(xs)]

    other = "eval" if trial.mode == "train" else "train"
    yield changed(
        reference,
        f"{other} mode",
        f"yours behaves as torch does in {other} mode",
        Change(mode=other),
    )
    yield changed(
        reference,
        "gradient from above ignored",
        "yours ignores the gradient from above: it computes as if that were all ones",
        Change(cotangent=lambda dy: torch.ones_like(dy)),
        1.1,
    )
    for i, x in enumerate(inputs):
        which = f"input {i}"
        if x.dtype.kind == "b":
            yield changed(
                reference,
                f"{which} inverted",
                f"yours reads the boolean {which} the other way round (True for False)",
                Change(inputs=on(i, lambda t: ~t)),
            )
        if x.dtype.kind != "f":
            continue
        for name, function in (
            ("softmax", lambda t: torch.softmax(t, -1)),
            ("log_softmax", lambda t: torch.log_softmax(t, -1)),
            ("sigmoid", torch.sigmoid),
            ("log", torch.log),
            ("exp", torch.exp),
            ("relu", torch.relu),
            ("tanh", torch.tanh),
            ("abs", torch.abs),
        ):
            yield changed(
                reference,
                f"{name} of {which}",
                f"yours takes {name} of {which} first",
                Change(inputs=on(i, function)),
                1.4,
            )
        if x.ndim >= 1:
            for dim in range(x.ndim):
                if x.shape[dim] % 2 == 0 and dim:
                    yield changed(
                        reference,
                        f"halves of {which} along axis {dim} swapped",
                        f"yours takes the two halves of {which} along axis {dim} the other way "
                        "round",
                        Change(inputs=on(i, _halves(dim))),
                        1.35,
                    )
                yield changed(
                    reference,
                    f"{which} reversed along axis {dim}",
                    f"yours goes along axis {dim} of {which} the other way",
                    Change(inputs=on(i, _flipper(dim)), output=_flipper(dim)),
                    1.5,
                )
        for name, groups in reference.config().items():
            if isinstance(groups, bool) or not isinstance(groups, int) or groups < 2:
                continue
            for dim in range(1, x.ndim):
                n = x.shape[dim]
                if n % groups or n == groups:
                    continue
                ways = {
                    f"({groups}, {n // groups})": (False, True),
                    f"({n // groups}, {groups})": (True, False),
                }
                for how, turns in ways.items():
                    there, back = (_interleaver(groups, dim, turn) for turn in turns)
                    yield changed(
                        reference,
                        f"axis {dim} interleaved {how}",
                        f"yours groups axis {dim} of {which} interleaved: it reads it "
                        f"as {how} where "
                        f"the reference reads the other order ({name}={groups})",
                        Change(inputs=on(i, there), output=back),
                        1.3,
                    )
        if x.ndim >= 3:
            for a, b in itertools.combinations(range(x.ndim), 2):
                if x.shape[a] == x.shape[b]:
                    yield changed(
                        reference,
                        f"{which} with axes {a} and {b} swapped",
                        f"yours takes axes {a} and {b} of {which} the other way round",
                        Change(inputs=on(i, _swapper(a, b)), output=_swapper(a, b)),
                        1.3,
                    )
    if (
        len(inputs) >= 2
        and inputs[0].shape == inputs[1].shape
        and inputs[0].dtype == inputs[1].dtype
    ):
        yield changed(
            reference,
            "inputs swapped",
            "yours takes the first two inputs the other way round",
            Change(inputs=lambda xs: [xs[1], xs[0], *xs[2:]]),
        )
    for name, function in (
        ("relu", torch.relu),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("abs", torch.abs),
        ("softmax", lambda y: torch.softmax(y, -1)),
        ("log_softmax", lambda y: torch.log_softmax(y, -1)),
    ):
        yield changed(
            reference,
            f"{name} of the output",
            f"yours has one more {name} at the end",
            Change(output=function),
            1.4,
        )


def _flipper(*dims: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: torch.flip(t, dims) if t.ndim > max(dims) else t


def _halves(dim: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: torch.roll(t, t.shape[dim] // 2, dim) if t.ndim > dim else t


def _swapper(a: int, b: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda t: t.transpose(a, b) if t.ndim > max(a, b) else t


def _turn(option: str) -> Callable[[float], Change]:
    return lambda v: Change(config={option: v})


def _scaler(i: int) -> Callable[[float], Change]:
    return lambda v: Change(inputs=lambda xs: [t * v if j == i else t for j, t in enumerate(xs)])


def _interleaver(groups: int, dim: int, back: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """(groups, n / groups) read as (n / groups, groups), or the other way, whatever n is."""

    def take(t: torch.Tensor) -> torch.Tensor:
        if t.ndim <= dim or t.shape[dim] % groups:
            return t
        order = torch.arange(t.shape[dim]).reshape(groups, -1).T.flatten()
        return t.index_select(dim, torch.argsort(order) if back else order)

    return take


Knob = Callable[[float], Change]


def tuned(
    reference: Reference,
    trial: Trial,
    label: str,
    sizes: list[dict[str, float]],
    elsewhere: Sequence[Trial] = (),
) -> Iterator[Suspect]:
    """Numbers solved for the value that gives the user's worst element.

    Each option that is a number, and a factor on each input. `sizes` has what the lexicon may name
    in every trial, `elsewhere` trials of other shapes, for which a factor is solved anew.
    """
    if not _solvable(trial, label):
        return
    knobs: list[tuple[str, float, Knob]] = [
        (name, value, _turn(name))
        for name, value in reference.config().items()
        if isinstance(value, float)
    ]
    for i, x in enumerate(x for k, x in trial.given.items() if k.startswith("input")):
        if x.dtype.kind == "f":
            knobs.append((f"a factor on input {i}", 1.0, _scaler(i)))
    for name, value, change in knobs:
        for root in _roots(reference, trial, label, name, value, change):
            # Somewhere else it may be another number, and more than one may give the worst element.
            others = [root]
            if name.startswith("a factor") and elsewhere:
                others += _roots(reference, elsewhere[0], label, name, value, change)
            for there in others:
                values = [root] * (len(sizes) - len(elsewhere)) + [there] * len(elsewhere)
                names = lexicon.name_of(values, sizes, 1e-9)
                if there != root and not names:
                    continue
                neat = root if names else float(f"{root:.7g}")
                text = _in_words(name, neat, value, names, sizes[0])
                suspect = changed(reference, f"{name}={neat:g}", text, change(neat), 1.5)
                suspect = replace(suspect, source=SOLVED)
                if there != root:
                    run = _by_shape(reference, change, neat, there)
                    suspect = replace(suspect, run=run, change=None)
                yield suspect
            if not name.startswith("a factor"):
                break


def _in_words(
    name: str, neat: float, value: float, names: list[str], sizes: dict[str, float]
) -> str:
    if not name.startswith("a factor"):
        return (
            f"yours does what torch does with {name}={neat:g}; the reference has {name}={value:g}"
        )
    named = next((n for n in names if n not in lexicon.PLAIN), "")
    meaning = f"; {neat:.7g} = {lexicon.describe(named, sizes)}" if named else ""
    which = name.removeprefix("a factor on ")
    return f"yours does what the reference does with {which} multiplied by {neat:.7g}{meaning}"


def _by_shape(
    reference: Reference, change: Knob, here: float, there: float
) -> Callable[[Trial, bool], Mapping[str, Array]]:
    """Another value of the knob for the trials of other shapes."""

    def run(trial: Trial, backward: bool = True) -> Mapping[str, Array]:
        value = there if trial.confirms else here
        return changed(reference, "", "", change(value)).run(trial, backward)

    return run


def _solvable(trial: Trial, label: str) -> bool:
    user, right = np.asarray(trial.user.found[label]), np.asarray(trial.reference[label])
    return user.shape == right.shape and bool(right.size) and bool(np.isfinite(user).all())


def _roots(
    reference: Reference, trial: Trial, label: str, name: str, value: float, change: Knob
) -> list[float]:
    """The values of a knob that give the worst element of a trial."""
    if not _solvable(trial, label):
        return []
    user = np.asarray(trial.user.found[label], np.float64)
    right = np.asarray(trial.reference[label], np.float64)
    at = np.unravel_index(int(np.argmax(np.abs(user - right))), right.shape)
    wanted = float(user[at])

    def gap(v: float) -> float:
        try:
            found = changed(reference, "", "", change(v)).run(trial, False)
            return float(np.asarray(found[label], np.float64)[at]) - wanted
        except Exception:
            return math.nan

    grid = sorted({*(10.0**k for k in range(-9, 3)), 0.0, value, 0.3, 0.5, 0.7, 0.9})
    if name.startswith("a factor"):
        grid = [0.05, 0.2, 0.45, 0.7, 0.95, 1.2, 1.7, 2.4, 3.4, 5.0, 10.0, 30.0]
    values = [(v, gap(v)) for v in grid]
    values = [(v, g) for v, g in values if math.isfinite(g)]
    if len(values) < 3 or np.ptp([g for _, g in values]) == 0:
        return []
    return [
        _root(gap, a, b, fa, fb)
        for (a, fa), (b, fb) in itertools.pairwise(values)
        if fa != 0 and fa * fb <= 0
    ]


def _root(f: Callable[[float], float], a: float, b: float, fa: float, fb: float) -> float:
    for i in range(60):
        m = b - fb * (b - a) / (fb - fa) if i % 3 and fb != fa else (a + b) / 2
        if not min(a, b) < m < max(a, b):
            m = (a + b) / 2
        fm = f(m)
        if fm == 0 or abs(b - a) <= 1e-15 * max(abs(a), abs(b)):
            return m
        if not math.isfinite(fm):
            break
        if fa * fm < 0:
            b, fb = m, fm
        else:
            a, fa = m, fm
    return (a + b) / 2

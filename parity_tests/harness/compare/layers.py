"""Inside a model: which NumPy sub-layer is which torch submodule, and who introduced a difference.

Both sides are listened to while they run. Where a sub-layer's output differs, that sub-layer alone
is run again on what the reference handed to its own: if it then agrees, the difference was only
passed on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.locate import budget
from parity_tests.harness.compare.mapping import Uncomparable, tokens
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.own_names import has_method
from parity_tests.harness.compare.own_state import is_parameter
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.trials import Trial

Array = np.ndarray[Any, np.dtype[Any]]


def sublayers(owner: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Objects with a forward inside an object: dotted name -> object, innermost ones only."""
    found: dict[str, Any] = {}
    if depth > 4:
        return found
    items: list[tuple[str, Any]] = []
    for name, value in vars(owner).items() if hasattr(owner, "__dict__") else []:
        if isinstance(value, list | tuple):
            items += [(f"{name}.{i}", v) for i, v in enumerate(value)]
        elif isinstance(value, Mapping):
            items += [(f"{name}.{k}", v) for k, v in value.items()]
        else:
            items.append((name, value))
    for name, value in items:
        if isinstance(value, type) or is_parameter(value) or not has_method(value, "forward"):
            continue
        inner = sublayers(value, f"{prefix}{name}.", depth + 1)
        found |= inner or {f"{prefix}{name}": value}
    return found


def pair(
    code: OwnCode, reference: Reference, taps: Mapping[str, str] | None, notes: list[str]
) -> dict[str, str]:
    """NumPy sub-layer -> torch submodule: as told, by the same name, or in order."""
    if reference.module is None or code.is_function:
        return {}
    theirs = [n for n, m in reference.module.named_modules() if n and not list(m.children())]
    mine = list(sublayers(code.fresh()))
    if taps:
        every = [n for n, _ in reference.module.named_modules() if n]
        for a, b in taps.items():
            if ".".join(tokens(a)) not in mine:
                raise Uncomparable(
                    f"taps names {a!r}; the NumPy side has {', '.join(mine) or 'none'}"
                )
            if b not in every:
                raise Uncomparable(f"taps maps to {b!r}; the torch side has {', '.join(every)}")
        return {".".join(tokens(a)): b for a, b in taps.items()}
    if not mine or not theirs:
        return {}
    if set(mine) == set(theirs):
        return {n: n for n in theirs if n in mine}
    if len(mine) == len(theirs):
        notes.append(
            "sub-layers taken in order: " + ", ".join(f"{a} is {b}" for a, b in zip(mine, theirs))
        )
        return dict(zip(mine, theirs))
    weighed = [n for n in theirs if list(reference.module.get_submodule(n).parameters())]
    owners = [n for n in mine if any(link.slot.startswith(f"{n}.") for link in code.links)]
    if weighed and len(owners) == len(weighed):
        notes.append(
            "sub-layers with parameters taken in order: "
            + ", ".join(f"{a} is {b}" for a, b in zip(owners, weighed))
        )
        return dict(zip(owners, weighed))
    notes.append(
        f"sub-layers not compared one by one: yours has {', '.join(mine)}; torch has "
        f"{', '.join(theirs)}; taps={{'mine': 'theirs'}} says which is which"
    )
    return {}


class _Ear:
    """Makes an instance whose sub-layers tell what they return."""

    def __init__(self, code: OwnCode, pairs: Mapping[str, str]) -> None:
        self.code, self.pairs = code, pairs
        self.found: dict[str, Array] = {}
        self.times: dict[str, int] = {}

    def __call__(self, seed: int) -> Any:
        instance = self.code.fresh(seed)
        if self.pairs:
            layers = sublayers(instance)
            for name, path in self.pairs.items():
                self._listen(layers[name], path)
        return instance

    def _listen(self, layer: Any, path: str) -> None:
        for method, label in (("forward", f"tap {path}"), ("backward", f"tap gradient {path}")):
            own = getattr(layer, method, None)
            if own is None or not hasattr(layer, "__dict__"):
                continue

            def heard(*args: Any, own: Any = own, label: str = label, **kwargs: Any) -> Any:
                y = own(*args, **kwargs)
                first = y[0] if isinstance(y, tuple) and y else y
                if isinstance(first, np.ndarray):
                    self.found[label] = first.copy()
                    self.times[label] = self.times.get(label, 0) + 1
                return y

            layer.__dict__[method] = heard

    def heard(self) -> dict[str, Array]:
        """What was returned, by label; not of what is used in several places."""
        self.code.shared |= {k.removeprefix("tap ") for k, n in self.times.items() if n > 1}
        return {label: x for label, x in self.found.items() if self.times[label] == 1}


@contextlib.contextmanager
def listening(code: OwnCode, pairs: Mapping[str, str]) -> Iterator[_Ear]:
    """An ear for one run."""
    yield _Ear(code, pairs)


def activations(raw: Any, trial: Trial, reference: Reference) -> list[str]:
    """A forward that returns the input and every activation: whose outputs they are in torch."""
    if not isinstance(raw, list) or len(raw) < 3 or reference.module is None:
        return []
    x = trial.given["input 0"]
    if not all(isinstance(a, np.ndarray) for a in raw) or not np.array_equal(raw[0], x):
        return []
    groups: list[str] = []
    for name, module in reference.module.named_modules():
        if name and not list(module.children()):
            if list(module.parameters()) or not groups:
                groups.append(name)
            else:
                groups[-1] = name
    return groups[:-1] if len(groups) == len(raw) - 1 else []


def out_of_order(code: OwnCode, trial: Trial, pairs: Mapping[str, str]) -> str:
    """Whether the sub-layers are called in another order than torch's, or some never."""

    def called(found: Mapping[str, Array]) -> list[str]:
        heard = [k.removeprefix("tap ") for k in found if k.startswith("tap ")]
        return [path for path in heard if path in names]

    names = {path: name for name, path in pairs.items() if path not in code.shared}
    mine, theirs = called(trial.user.found), called(trial.reference)
    if not mine or not theirs or mine == theirs:
        return ""
    never = [names[path] for path in theirs if path not in mine]
    said = f"yours never calls {', '.join(never)}" if never else ""
    if mine != [path for path in theirs if path in mine]:
        order = ", ".join(names[path] for path in mine)
        said += f"{'; it' if said else 'yours'} goes through {order}"
    return f"{said}; torch goes through {', '.join(theirs)}" if said else ""


def origins(
    code: OwnCode, trials: Sequence[Trial], pairs: Mapping[str, str], labels: Sequence[str]
) -> dict[str, str]:
    """For each sub-layer that differs: was the difference introduced there, or passed on?"""
    found = {}
    mine = {path: name for name, path in pairs.items()}
    for label in labels:
        trial = next((t for t in trials if label in t.failed), None)
        if trial is None:
            continue
        path = label.removeprefix("tap gradient ").removeprefix("tap ")
        handed = trial.reference.get(f"tap {path} input")
        if handed is None or path not in mine:
            continue
        instance = code.fresh(trial.seed)
        code._set(instance, trial.given, trial.set_buffers)
        _mode(instance, trial.mode)
        layer = sublayers(instance)[mine[path]]
        try:
            with np.errstate(all="ignore"):
                y = layer.forward(handed.copy())
                if label.startswith("tap gradient"):
                    dy = trial.reference.get(f"tap gradient {path} output")
                    y = layer.backward(None if dy is None else dy.copy())
        except Exception:
            continue
        y = y[0] if isinstance(y, tuple) else y
        wanted = trial.reference[label]
        if np.shape(y) != wanted.shape:
            found[label] = "introduced here"
            continue
        limit = 4 * budget(wanted, trial.noise.get(label, []))
        with np.errstate(all="ignore"):
            apart = np.abs(np.asarray(y, float) - wanted)
        found[label] = "passed on" if np.all(apart <= limit) else "introduced here"
    return found


def _mode(instance: Any, mode: str) -> None:
    from parity_tests.harness.compare.own_code import set_mode

    set_mode(instance, mode)

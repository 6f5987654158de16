"""Anybody's learning-rate schedule in NumPy, read step by step."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_impl.module import Parameter
from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_optimizer import RATE_NAMES

Array = np.ndarray[Any, np.dtype[Any]]


def rates(
    mine: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    start: float | None,
    count: int,
    notes: list[str],
    by_hand: int | None = None,
) -> tuple[Array, float]:
    """The rates that a schedule gives at steps 0, 1, ...; and the rate it starts from.

    At step `by_hand`, if given, the rate is halved by hand, where it is an optimizer that holds it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if inspect.isroutine(mine):
            return _rates_of_function(mine, kwargs, start, count)
        thing = mine
        if inspect.isclass(mine):
            takes = list(inspect.signature(mine).parameters)
            if is_bound(mine):
                start = 0.1 if start is None else start
                return _rates_on_optimizer(mine, args, kwargs, start, count, by_hand)
            kwargs = dict(kwargs)
            name = next((k for k in RATE_NAMES if k in takes), None)
            if name and start is not None and name not in kwargs and not args:
                kwargs[name] = start
            unknown = [k for k in kwargs if k not in takes]
            if unknown:
                raise Uncomparable(
                    f"{mine.__name__} takes {', '.join(takes)}, not "
                    f"{', '.join(unknown)}; say what each "
                    "side gets with numpy_kwargs= and torch_kwargs="
                )
            thing = mine(*args, **kwargs)
        else:
            thing = copy.deepcopy(mine)
        read = _reader(thing)
        found = []
        for t in range(count):
            found.append(float(np.asarray(read(t)).ravel()[0]))
            if callable(getattr(thing, "step", None)):
                thing.step()
    if start is None:
        start = next(
            (
                float(getattr(thing, k))
                for k in ("initial_lr", "base_lr", "lr0", "initial_learning_rate")
                if isinstance(getattr(thing, k, None), float | int)
            ),
            None,
        )
        start = found[0] if start is None else start
        notes.append(f"both start from {start:g}")
    return np.array(found), start


def _without(call: Callable[[], Any]) -> Callable[[int], Any]:
    return lambda t: call()


def _reader(thing: Any) -> Callable[[int], Any]:
    for name in ("get_lr", "get_last_lr", "current_lr", "get_learning_rate"):
        value = getattr(thing, name, None)
        if callable(value):
            call = value
            wants = [
                p for p in inspect.signature(value).parameters.values() if p.default is p.empty
            ]
            return call if wants else _without(call)
    if callable(thing):
        return lambda t: thing(t)
    for name in ("lr", "learning_rate", "current_lr"):
        if hasattr(thing, name):
            return lambda t: getattr(thing, name)
    raise Uncomparable(
        f"{type(thing).__name__} says its rate nowhere: wanted "
        f"get_lr(), an attribute lr, or a call "
        "with the step"
    )


def _rates_of_function(
    mine: Any, kwargs: Mapping[str, Any], start: float | None, count: int
) -> tuple[Array, float]:
    takes = list(inspect.signature(mine).parameters)
    name = next((k for k in RATE_NAMES if k in takes), None)
    at = next((k for k in ("epoch", "t", "step", "i", "iteration", "n") if k in takes), takes[0])
    kwargs = dict(kwargs)
    if name and start is not None:
        kwargs.setdefault(name, start)
    found = np.array([float(mine(**{at: t}, **kwargs)) for t in range(count)])
    return found, float(found[0]) if start is None else start


def is_bound(mine: Any) -> bool:
    """Whether it writes the rate into an optimizer, as torch's do."""
    return (
        inspect.isclass(mine) and next(iter(inspect.signature(mine).parameters), "") == "optimizer"
    )


def _rates_on_optimizer(
    mine: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    start: float,
    count: int,
    by_hand: int | None,
) -> tuple[Array, float]:
    from numpy_impl.optimization.sgd import SGD

    optimizer = SGD([Parameter(np.zeros(1))], lr=start)
    scheduler = mine(optimizer, *args, **kwargs)
    found = []
    for t in range(count):
        if t == by_hand:
            optimizer.param_groups[0]["lr"] *= 0.5
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return np.array(found), start

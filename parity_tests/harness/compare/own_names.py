"""What people call things: forward, dout, cache, training; and what one run of their code gives."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


FORWARDS = ("forward", "__call__", "call", "predict", "transform", "apply")


BACKWARDS = ("backward", "backprop", "backward_pass", "bprop", "bwd", "gradient", "grad")


MODES = ("training", "train", "is_training", "is_train", "train_mode", "mode")


RATES = ("lr", "learning_rate", "eta", "alpha", "step_size")


TARGETS = ("y", "t", "target", "targets", "label", "labels", "y_true", "ytrue", "y_batch", "truth")


BAGS = ("params", "parameters", "weights", "theta", "p", "state", "variables")
"""Arguments that hold all parameters of a function, by name."""


CACHES = (
    "cache",
    "ctx",
    "saved",
    "memory",
    "activations",
    "context",
    "tape",
    "stored",
    "residuals",
)


RETURNS = ("output", "outputs", "out", "y", "a", "activation", "z")
"""Attributes where a forward that returns nothing leaves its output."""
OUTPUTS = ("y", "out", "output", "outputs", "y_pred", "y_hat", "yhat", "result", "a")


BIG_RATE = 2.0**20
"""A power of two: parameters moved by rate * gradient give the gradient back without rounding."""


def is_gradient_name(name: str) -> bool:
    """Whether an argument so named is the gradient that comes from above."""
    low = name.lower()
    known = {
        "d",
        "g",
        "delta",
        "upstream",
        "error",
        "err",
        "top_diff",
        "dy",
        "dvalues",
        "accum_grad",
    }
    return (
        low in known
        or "grad" in low
        or bool(re.fullmatch(r"d_?[a-z]{1,6}\d*(_.*)?", low))
        and (
            low
            not in ("data", "dim", "dims", "dtype", "decay", "depth", "d_model", "drop", "dropout")
        )
    )


@dataclass
class Ran:
    """What one run gave: arrays by label, and what went wrong in words."""

    found: dict[str, Array] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mutated: list[str] = field(default_factory=list)
    raw: Any = None


def keys_asked_of(function: Any, name: str) -> list[str]:
    """The names under which a function looks into one of its arguments: params["W"]."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return []
    asked = rf"\b{name}(?:\[|\.get\()\s*['\"](\w+)['\"]\s*[\])]"
    nested = re.search(asked + r"\s*\[\s*['\"]", source)
    return [] if nested else list(dict.fromkeys(re.findall(asked, source)))


def say(error: BaseException) -> str:
    """What was raised and on which line of the caller's code."""
    frame = error.__traceback__
    last = None
    while frame is not None:
        last = frame
        frame = frame.tb_next
    where = f" (line {last.tb_lineno} of {last.tb_frame.f_code.co_name})" if last else ""
    return f"{type(error).__name__}: {error}{where}"


def has_method(thing: Any, name: str) -> bool:
    """Whether it can be called by that name."""
    value = getattr(thing, name, None)
    return callable(value) and not isinstance(value, np.ndarray)


def names_parameter(name: str) -> bool:
    """Whether people call a parameter so, rather than an option."""
    from parity_tests.harness.compare.mapping import all_names, role

    word = role(name)[0]
    return word in all_names() and word not in ("scale", "alpha", "a", "slope", "theta", "mu", "g")


def _same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")

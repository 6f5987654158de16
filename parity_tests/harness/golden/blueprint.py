"""Writing down, as JSON, what is built and with what, so that NumPy alone can build it again.

Numbers, text, lists and tuples are themselves; arrays are lists with their dtype. A public function
or class of numpy_impl goes by its name, a module or a schedule by its class and the arguments it
was made with, which it keeps under their names, as torch's do. A function of the epoch is a table.
Nothing outside numpy_impl can be named, so reading a file runs no code but the project's own.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np

from numpy_impl.module import Module
from numpy_impl.optimization import LRScheduler

EPOCHS = 32
"""How many epochs a function of the epoch is written down for."""


class Unwritable(Exception):
    """Something that has no name here and no arguments to be known by."""


def written(value: Any) -> Any:
    """A value as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [written(v) for v in value]
    if isinstance(value, tuple):
        return {"tuple": [written(v) for v in value]}
    if isinstance(value, dict):
        return {"dict": {k: written(v) for k, v in value.items()}}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, Module | LRScheduler):
        return _made(value)
    if inspect.isclass(value) or inspect.isfunction(value):
        try:
            return {"name": name_of(value)}
        except Unwritable:
            pass
    if callable(value):
        try:
            return {"table": [float(value(t)) for t in range(EPOCHS)]}
        except Exception:
            pass
    raise Unwritable(f"{type(value).__name__} {getattr(value, '__name__', '')}".strip())


def name_of(value: Any) -> str:
    """module:name of something public in numpy_impl."""
    name = f"{value.__module__}:{value.__qualname__}"
    if not name.startswith("numpy_impl.") or "<" in name:
        raise Unwritable(f"{name} is not of numpy_impl")
    return name


def _made(value: Module | LRScheduler) -> dict[str, Any]:
    """A module or a schedule by its class and what that was called with."""
    args, kwargs = [], {}
    for name, parameter in inspect.signature(type(value).__init__).parameters.items():
        if name in ("self", "optimizer", "last_epoch", "dtype"):
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            args = [written(child) for child in value.children()]  # type: ignore[union-attr]
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kept = [k for k in (name, f"_{name}", f"{name}s") if hasattr(value, k)]
        if kept and isinstance(parameter.default, bool):  # Linear(bias=True) keeps a parameter
            kwargs[name] = getattr(value, kept[0]) is not None
        elif kept:
            kwargs[name] = written(getattr(value, kept[0]))
        elif parameter.default is parameter.empty:
            raise Unwritable(f"{type(value).__name__} keeps no {name}")
    made = {"new": name_of(type(value)), "kwargs": kwargs}
    return {**made, "args": args} if args else made


def read(value: Any, *first: Any) -> Any:
    """The value that was written down; what is made gets `first` before its own arguments."""
    if isinstance(value, list):
        return [read(v, *first) for v in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(read(v, *first) for v in value["tuple"])
    if "dict" in value:
        return {k: read(v, *first) for k, v in value["dict"].items()}
    if "array" in value:
        return np.array(value["array"], value["dtype"])
    if "table" in value:
        return value["table"].__getitem__
    if "name" in value:
        return named(value["name"])
    args = [read(v, *first) for v in value.get("args", [])]
    kwargs = {k: read(v, *first) for k, v in value["kwargs"].items()}
    return named(value["new"])(*first, *args, **kwargs)


def named(name: str) -> Any:
    """What a name stands for; ValueError if it stands for nothing in numpy_impl."""
    module, _, path = name.partition(":")
    if not module.startswith("numpy_impl."):
        raise ValueError(f"{name} is not of numpy_impl")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found

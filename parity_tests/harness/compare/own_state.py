"""The arrays that an object of somebody else's holds, and where it leaves their gradients."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from parity_tests.harness.compare.mapping import tokens

Array = np.ndarray[Any, np.dtype[Any]]


Path = tuple[tuple[str, Any], ...]


HIDDEN = {"_saved", "_buffers", "_forward_hooks", "training"}


def leaves(owner: Any) -> dict[str, tuple[Path, Any]]:
    """Every array, number and None an object holds: dotted name -> (how to get there, value)."""
    found: dict[str, tuple[Path, Any]] = {}
    seen: set[int] = set()
    for path, value in _walk(owner, (), seen, 0):
        name = ".".join(str(step) for kind, step in path if (kind, step) != ("attr", "data"))
        found.setdefault(name, (path, value))
    return found


def _walk(owner: Any, path: Path, seen: set[int], depth: int) -> Iterator[tuple[Path, Any]]:
    if isinstance(owner, np.ndarray | np.floating | float | int) or owner is None:
        if isinstance(owner, np.ndarray):
            if owner.dtype.kind not in "fiu" or id(owner) in seen:
                return
            seen.add(id(owner))
        yield path, owner
        return
    if (
        depth > 6
        or id(owner) in seen
        or isinstance(owner, str | bytes | type | np.random.Generator)
    ):
        return
    if inspect.isroutine(owner) or inspect.ismodule(owner):
        return
    seen.add(id(owner))
    if isinstance(owner, Mapping):
        items = [("item", k, v) for k, v in owner.items() if isinstance(k, str | int)]
    elif isinstance(owner, list | tuple):
        items = [("item", i, v) for i, v in enumerate(owner)]
    elif is_parameter(owner):
        items = [("attr", "data", owner.data)]
    elif hasattr(owner, "__dict__"):
        items = [("attr", k, v) for k, v in vars(owner).items() if k not in HIDDEN]
    else:
        return
    for kind, step, value in items:
        yield from _walk(value, (*path, (kind, step)), seen, depth + 1)


def is_parameter(thing: Any) -> bool:
    """Whether it is an array with its gradient beside it, as our Parameter is."""
    return (
        not isinstance(thing, np.ndarray)
        and isinstance(getattr(thing, "data", None), np.ndarray)
        and hasattr(thing, "grad")
    )


def reach(owner: Any, path: Path) -> Any:
    """What lies at the end of a path."""
    for kind, step in path:
        owner = getattr(owner, step) if kind == "attr" else owner[step]
    return owner


def put(owner: Any, path: Path, value: Any) -> None:
    """Write a value there: into the array itself where it fits, else in its place."""
    at = reach(owner, path)
    if (
        isinstance(at, np.ndarray)
        and at.shape == np.shape(value)
        and at.dtype == np.asarray(value).dtype
        and at.flags.writeable
    ):
        at[...] = value
        return
    kind, step = path[-1]
    holder = reach(owner, path[:-1])
    if isinstance(at, float | int) and np.ndim(value) == 0:
        value = type(at)(value) if isinstance(at, float) else float(value)
    if kind == "attr":
        setattr(holder, step, value)
    else:
        holder[step] = value


def is_old_gradient(name: str, names: Sequence[str]) -> bool:
    """Whether the name is that of a gradient kept beside another of these names."""
    *_, last = tokens(name)
    words = tokens(name)
    if any(w.lower() in ("grads", "gradients", "grad", "dparams", "cache") for w in words):
        return True
    bases = {tokens(n)[-1] for n in names}
    lists = {t for n in names for t in tokens(n)}
    for word in words if last.isdigit() else [last]:
        bare = re.sub(r"^(d_?|grad_?|g_)|(_?grads?)$", "", word)
        if bare != word and (bare in bases or bare in lists):
            return True
    return False


def gradient_names(name: str) -> list[str]:
    """What the gradient of an array so named may be called, likeliest first."""
    n = name
    return [
        f"d{n}",
        f"grad_{n}",
        f"{n}_grad",
        f"d_{n}",
        f"g_{n}",
        f"{n}grad",
        f"grad{n}",
        f"d{n}s",
        f"{n}_gradient",
        f"gradient_{n}",
        f"gradients_{n}",
        f"grads_{n}",
        f"{n}_gradients",
        f"nabla_{n}",
        f"d{n.lower()}",
        f"grad_{n.lower()}",
        f"dl_d{n.lower()}",
        f"delta_{n}",
    ]


def find_gradient(instance: Any, path: Path) -> Array | None:
    """The gradient kept for the array at this path, in any of the usual places."""
    steps = [p for p in path]
    if steps[-1] == ("attr", "data"):
        return getattr(reach(instance, path[:-1]), "grad", None)
    kind, last = steps[-1]
    holder = reach(instance, path[:-1])
    if kind == "attr":
        for name in gradient_names(last):
            if is_array_like(value := getattr(holder, name, None)):
                return value
        for store in ("grads", "gradients", "grad", "dparams"):
            if (value := _lookup(getattr(holder, store, None), last, None)) is not None:
                return value
        # params = [W, b], grads = [dW, db]
        for a, b in (("params", "grads"), ("parameters", "gradients"), ("params", "gradients")):
            mine, theirs = getattr(holder, a, None), getattr(holder, b, None)
            if isinstance(mine, list | tuple) and isinstance(theirs, list | tuple):
                for p, g in zip(mine, theirs):
                    if p is getattr(holder, last):
                        return g
        return None
    # inside a list or a dict: its twin is beside it
    if len(steps) < 2 or steps[-2][0] != "attr":
        return None
    above = reach(instance, path[:-2])
    store_name = steps[-2][1]
    stem = store_name.removesuffix("s")
    for name in [*gradient_names(store_name), *gradient_names(stem), "grads", "gradients", "grad"]:
        held = getattr(above, name, None)
        if (value := _lookup(held, last, len(holder))) is not None:
            return value
    return None


def _lookup(store: Any, key: Any, length: int | None) -> Array | None:
    if isinstance(store, Mapping):
        for name in [key, *(gradient_names(key) if isinstance(key, str) else [])]:
            if is_array_like(value := store.get(name)):
                return value
    if isinstance(store, list | tuple) and isinstance(key, int) and len(store) == length:
        return store[key] if is_array_like(store[key]) else None
    return None


def is_array_like(value: Any) -> bool:
    """Whether it can be a gradient."""
    return isinstance(value, np.ndarray | np.floating | float)

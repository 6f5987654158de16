"""Anybody's NumPy code as a program that the harness can run: state in, arrays out by label.

A function, a function with its backward beside it, a class or an object with forward and backward:
what each argument means is read from its name, as people name them (x, dout, cache, training,
gamma ...), and where gradients are kept is looked for where people keep them.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import numpy_impl
from parity_tests.harness.compare.mapping import Link, Uncomparable, packed
from parity_tests.harness.compare.own_backward import go_back
from parity_tests.harness.compare.own_names import (
    BACKWARDS,
    BAGS,
    BIG_RATE,
    FORWARDS,
    MODES,
    RETURNS,
    Ran,
    _same,
    has_method,
    keys_asked_of,
    names_parameter,
    say,
)
from parity_tests.harness.compare.own_state import is_old_gradient, leaves, put

Array = np.ndarray[Any, np.dtype[Any]]


class OwnCode:
    """NumPy code under comparison: `fresh()` makes it, `slots` says what it keeps, `run` runs it.

    Args:
        mine: a function, a class, or an object.
        args, kwargs: for the class, or further keyword arguments of the function.
        backward: a function that gives the gradients, where it stands apart.
        grads: NumPy name -> where its gradient is kept, if it is not found.
        forward_kwargs: further keyword arguments of the forward.
    """

    def __init__(
        self,
        mine: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        backward: Callable[..., Any] | None = None,
        grads: Mapping[str, str] | None = None,
        forward_kwargs: Mapping[str, Any] | None = None,
        inputs: int = 1,
    ) -> None:
        self.mine, self.args, self.kwargs = mine, tuple(args), dict(kwargs or {})
        self.grads, self.inputs = dict(grads or {}), inputs
        self.forward_kwargs = dict(forward_kwargs or {})
        self.is_class = inspect.isclass(mine) or self._is_factory()
        self.is_function = (
            not self.is_class
            and (
                inspect.isroutine(mine)
                or not any(hasattr(mine, f) for f in FORWARDS if f != "__call__")
                and not hasattr(mine, "__dict__")
            )
            or _is_partial(mine)
        )
        if self.is_class:
            takes = inspect.signature(mine).parameters
            unknown = [k for k in self.kwargs if k not in takes]
            if unknown and not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
                raise Uncomparable(
                    f"{mine.__name__} takes {', '.join(takes) or 'no arguments'}; got {unknown}"
                )
        if self.is_function:
            _refuse_unknown(mine, self.kwargs)
            self.forward_kwargs = {**self.kwargs, **self.forward_kwargs}
        self.links: list[Link] = []
        self.shared: set[str] = set()  # what is called more than once in a run
        self.backward_function = backward
        self.draws_ours = _knows_ours(mine)
        sample = self.fresh()
        self.forward_name = self._forward_name(sample)
        self.backward_name = next((b for b in BACKWARDS if has_method(sample, b)), None)
        if self.is_function:
            self.backward_name = None
        self.mode_name = ""
        self._read_forward(sample)

    # ---- making it ----------------------------------------------------------------------------

    def _is_factory(self) -> bool:
        """Whether it is a function that makes an object with a forward."""
        if not inspect.isfunction(self.mine) or not (self.args or self.kwargs):
            return False
        try:
            return has_method(self.mine(*self.args, **self.kwargs), "forward")
        except Exception:  # it wants arrays
            return False

    def fresh(self, seed: int = 0) -> Any:
        """A new instance: always the same numbers for the same seed."""
        if self.is_function:
            return {}
        if self.is_class:
            self._seed(seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.mine(*copy.deepcopy(self.args), **copy.deepcopy(self.kwargs))
        return copy.deepcopy(self.mine)

    def _seed(self, seed: int) -> None:
        np.random.seed(seed % 2**32)  # noqa: NPY002 - other people's code draws from it
        if self.draws_ours:
            numpy_impl.manual_seed(seed)

    @property
    def name(self) -> str:
        """What to call it in a report."""
        mine = self.mine.func if _is_partial(self.mine) else self.mine
        return getattr(mine, "__name__", None) or type(mine).__name__

    @property
    def has_backward(self) -> bool:
        """Whether there is anything to ask for gradients."""
        return bool(self.backward_function or self.backward_name)

    def _forward_name(self, sample: Any) -> str:
        if self.is_function:
            return ""
        for name in FORWARDS:
            if has_method(sample, name):
                return name
        raise Uncomparable(
            f"{self.name} has no forward: wanted a method called one of {', '.join(FORWARDS)}, "
            f"it has {', '.join(n for n in dir(sample) if not n.startswith('_')) or 'none'}"
        )

    def _forward(self, instance: Any) -> Callable[..., Any]:
        if self.is_function:
            return self.mine
        if self.forward_name == "forward" and callable(instance):
            return instance  # our modules clean up after themselves in __call__
        return getattr(instance, self.forward_name)

    def _read_forward(self, sample: Any) -> None:
        """Which arguments are inputs, which parameters, which one is the mode."""
        target = self.mine if self.is_function else getattr(sample, self.forward_name)
        try:
            takes = list(inspect.signature(target).parameters.values())
        except (TypeError, ValueError):
            takes = []
        takes = [p for p in takes if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self.mode_name = next(
            (p.name for p in takes if p.name in MODES and p.name not in self.forward_kwargs), ""
        )
        rest = [p for p in takes if p.name != self.mode_name and p.name not in self.forward_kwargs]
        for p in [p for p in rest if self.is_function and p.name in BAGS]:
            keys = keys_asked_of(self.mine, p.name)
            if keys:
                self.bag, self.bag_keys = p.name, keys
                rest.remove(p)
        self.input_names = [p.name for p in rest[: self.inputs]]
        self.extra = rest[self.inputs :]
        if not self.is_function:
            wanting = [p.name for p in self.extra if p.default is p.empty]
            if wanting:
                raise Uncomparable(
                    f"{self.name}.{self.forward_name} also wants {', '.join(wanting)}: give more "
                    "inputs, or forward_kwargs={...}"
                )

    bag = ""
    """The argument that holds all parameters in a dict, and the keys that the function asks for."""
    bag_keys: Sequence[str] = ()

    def arguments(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a function as it takes them: one by one, or all in a dict."""
        return {self.bag: dict(instance)} if self.bag else dict(instance)

    def slots(self, keys: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...] | None]:
        """NumPy names and shapes that may stand for torch's keys."""
        if self.bag:
            return dict.fromkeys(self.bag_keys)
        if self.is_function:
            wanted = [
                p.name
                for p in self.extra
                if p.default is p.empty
                or p.default is None
                or isinstance(p.default, float)
                and len(keys) > 0
                and names_parameter(p.name)
            ]
            return {name: None for name in wanted}
        found = leaves(self.fresh())
        names = list(found)
        shapes: dict[str, tuple[int, ...] | None] = {}
        for name, (_, value) in found.items():
            if isinstance(value, bool | int) or is_old_gradient(name, names):
                continue
            if isinstance(value, np.ndarray) and value.dtype.kind != "f":
                continue
            if isinstance(value, float) and not names_parameter(name):
                continue
            if value is None and not names_parameter(name):
                continue
            shapes[name] = None if value is None else np.shape(value)
        return shapes

    # ---- running it ----------------------------------------------------------------------------

    def run(
        self,
        given: Mapping[str, Array],
        mode: str = "train",
        seed: int = 0,
        set_buffers: bool = True,
        want_backward: bool = True,
        warm: Sequence[Mapping[str, Array]] = (),
        instance: Any = None,
    ) -> Ran:
        """Set the state, run forward and, if there is one, backward.

        `given` holds "input i", "state <torch key>", "cotangent" and "target", as on the torch
        side; `warm` are inputs of forwards to be run before, in training mode.
        """
        ran = Ran()
        instance = self.fresh(seed) if instance is None else instance
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            self._set(instance, given, set_buffers)
            self._seed(seed)
            for earlier in warm:
                inputs = [x.copy() for k, x in earlier.items() if k.startswith("input")]
                self._call_forward(instance, inputs, "train")
            inputs = [x for k, x in given.items() if k.startswith("input")]
            kept = [np.array(x) for x in inputs]
            try:
                raw = self._call_forward(instance, inputs, mode)
            except Exception as error:
                ran.problems.append(("forward", say(error)))
                return ran
            if raw is None and not self.is_function:
                raw = next((getattr(instance, n) for n in RETURNS if hasattr(instance, n)), None)
            ran.raw = raw
            cache = raw
            parts = [np.array(x) for x in outputs_of(raw)]
            if not parts or parts[0].dtype.kind not in "fiub":
                what = "nothing" if raw is None else f"{type(raw).__name__} {raw!r:.60}"
                ran.problems.append(("forward", f"TypeError: wanted an array back, got {what}"))
                return ran
            for i, y in enumerate(parts):
                ran.found["forward output" + (f" {i}" if i else "")] = y
            for path, y in zip(self.activations, taps_of(raw)[1:]):
                ran.found[f"tap {path}"] = np.array(y)
            if isinstance(raw, tuple) and len(raw) >= 2:
                cache = raw[1] if len(raw) == 2 else raw[1:]
            for i, (x, old) in enumerate(zip(inputs, kept)):
                if not _same(x, old):
                    ran.mutated.append(f"forward changed input {i} in place")
            if want_backward and self.has_backward and parts:
                go_back(self, ran, instance, given, kept, raw, cache)
            self._read_state(ran, instance)
            for x, old in zip(inputs, kept):
                if not _same(x, old):  # the next run is to start from what was handed in
                    x[...] = old
        return ran

    def _set(self, instance: Any, given: Mapping[str, Array], set_buffers: bool) -> None:
        held = {} if self.is_function else leaves(instance)
        wanted = (
            np.dtype(np.float32)
            if any(x.dtype == np.float32 for x in given.values())
            else np.float64
        )
        for path, value in held.values():  # what torch does with .double() or .float()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype != wanted:
                put(instance, path, value.astype(wanted))
        for link in self.links:
            if f"state {link.key}" not in given or (link.key in self.buffers and not set_buffers):
                continue
            value = link.to_slot(given[f"state {link.key}"])
            if self.is_function:
                instance[link.slot] = value
            else:
                put(instance, held[link.slot][0], value)

    buffers: frozenset[str] = frozenset()
    """Torch keys that are buffers, not parameters."""
    activations: Sequence[str] = ()
    """Torch submodules whose outputs the forward returns in a list, after the input."""

    def _call_forward(self, instance: Any, inputs: Sequence[Array], mode: str) -> Any:
        kwargs = copy.deepcopy(self.forward_kwargs)
        if self.mode_name:
            kwargs[self.mode_name] = mode if self.mode_name == "mode" else mode == "train"
        if self.bag:
            named = dict(zip(self.input_names, inputs))
            return self.mine(**named, **self.arguments(instance), **kwargs)
        if self.is_function:
            return self.mine(*inputs, **instance, **kwargs)
        set_mode(instance, mode)
        return self._forward(instance)(*inputs, **kwargs)

    first = Ran()
    """What the very first call gave, before anything could be kept from another."""
    _takes: list[inspect.Parameter] | None = None
    takes_cotangent = True
    rated = False
    rate = BIG_RATE
    """What a backward that updates by itself is handed as its learning rate."""

    def _read_state(self, ran: Ran, instance: Any) -> None:
        if self.is_function:
            return
        held = leaves(instance)
        for link in self.links:
            if link.key in self.buffers and link.slot in held:
                value = held[link.slot][1]
                if value is None:
                    ran.notes.append(f"buffer {link.key} is still None")
                    continue
                value = np.array(value, dtype=float)
                if packed(value.shape) == packed(link.shape) and value.shape != link.shape:
                    value = value.reshape(link.shape)
                ran.found[f"buffer {link.key}"] = (
                    link.to_key(value) if value.shape == link.shape else value
                )


def _refuse_unknown(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
    """Uncomparable if a function is handed an option of torch's that it does not take."""
    try:
        takes = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    unknown = {k: v for k, v in kwargs.items() if k not in takes}
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        name = getattr(function, "__name__", "the function")
        raise Uncomparable(
            f"{name} takes {', '.join(takes) or 'no arguments'}; what is for torch alone goes into "
            f"torch_kwargs={unknown!r}"
        )


def set_mode(instance: Any, mode: str) -> None:
    """Training or evaluation, by the object's own way of saying it."""
    switch = getattr(instance, "train", None)
    if mode == "eval" and has_method(instance, "eval"):
        instance.eval()
    elif callable(switch) and not inspect.isclass(switch) and has_method(instance, "eval"):
        instance.train()
    elif isinstance(getattr(instance, "training", None), bool):
        instance.training = mode == "train"
    elif isinstance(switch, bool):
        instance.train = mode == "train"


def outputs_of(raw: Any) -> list[Any]:
    """The outputs in what a forward returned: all of a nest of arrays, the last of activations."""
    if isinstance(raw, np.ndarray | np.generic | float | int):
        return [raw]
    if isinstance(raw, list):
        if raw and not _holds_arrays(raw):
            with contextlib.suppress(ValueError, TypeError):
                return [np.asarray(raw, dtype=float)]
        return outputs_of(raw[-1]) if raw else []
    if isinstance(raw, tuple):
        found: list[Any] = []
        for item in raw:
            if isinstance(item, np.ndarray | np.generic | float | int):
                found.append(item)
            elif isinstance(item, tuple) and item and all(isinstance(a, np.ndarray) for a in item):
                found += item
            else:
                break
        return found
    if isinstance(raw, Mapping):
        for name in ("out", "output", "y", "logits"):
            if name in raw:
                return [raw[name]]
    if isinstance(getattr(raw, "data", None), np.ndarray):
        return [raw.data]
    return []


def _holds_arrays(raw: Any) -> bool:
    """Whether there is an array anywhere in a nest of lists."""
    return isinstance(raw, np.ndarray) or isinstance(raw, list) and any(map(_holds_arrays, raw))


def taps_of(raw: Any) -> list[Array]:
    """The earlier entries of a list of activations."""
    if isinstance(raw, list) and all(isinstance(a, np.ndarray) for a in raw):
        return raw[:-1]
    return []


def _knows_ours(mine: Any) -> bool:
    """Whether the code may draw from this project's generator."""
    kind = mine if inspect.isclass(mine) or inspect.isroutine(mine) else type(mine)
    modules = {getattr(k, "__module__", "") for k in getattr(kind, "__mro__", (kind,))}
    names = [vars(sys.modules[m]) for m in modules if m in sys.modules and m != "builtins"]
    return any(
        (getattr(v, "__module__", None) or getattr(v, "__name__", None) or "").startswith(
            "numpy_impl"
        )
        for held in names
        for v in list(held.values())
        if inspect.ismodule(v) or inspect.isclass(v) or inspect.isroutine(v)
    )


def _is_partial(thing: Any) -> bool:
    return hasattr(thing, "func") and hasattr(thing, "keywords") and hasattr(thing, "args")

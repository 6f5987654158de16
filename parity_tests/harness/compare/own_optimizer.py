"""Anybody's optimizer or schedule in NumPy, driven step by step.

Taken are: an optimizer over parameter objects with `step()`, one whose `update(weights, gradients,
key)` is called for each array, one that takes dicts or lists, and a function that returns the new
weights (alone, or before the state it wants back).
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_impl.module import Parameter
from parity_tests.harness.compare.mapping import Uncomparable
from parity_tests.harness.compare.own_names import is_gradient_name, say

Array = np.ndarray[Any, np.dtype[Any]]


STEPS = ("step", "update", "apply", "apply_gradients", "update_params", "optimize", "__call__")


KEYS = ("key", "name", "id", "idx", "index", "layer", "layer_id", "param_name", "layer_name", "i")


PARAMS = ("params", "parameters", "model_params", "weights", "variables", "param_list")


STATES = ("config", "state", "cache", "memory", "opt_state", "optim_state")


RATE_NAMES = (
    "lr",
    "learning_rate",
    "initial_lr",
    "base_lr",
    "lr0",
    "eta",
    "eta0",
    "alpha",
    "step_size",
    "initial_learning_rate",
)


SYNONYMS: list[tuple[str, ...]] = [
    RATE_NAMES,
    ("eps", "epsilon", "e"),
    ("weight_decay", "wd", "decay", "l2", "lambda_", "lam", "reg", "weight_decay_rate"),
    ("momentum", "mu", "beta", "gamma", "rho"),
    ("alpha", "rho", "decay_rate", "beta", "gamma", "decay"),
    ("beta1", "beta_1", "b1"),
    ("beta2", "beta_2", "b2"),
]


def translate(kwargs: Mapping[str, Any], takes: Sequence[str], name: str) -> dict[str, Any]:
    """The same options under the names this side uses."""
    found: dict[str, Any] = {}
    kwargs = dict(kwargs)
    if "betas" in kwargs and "betas" not in takes:
        kwargs["beta1"], kwargs["beta2"] = kwargs.pop("betas")
    pair = [next((k for k in names if k in kwargs), None) for names in SYNONYMS[-2:]]
    if "betas" in takes and "betas" not in kwargs and (pair[0] or pair[1]):
        found["betas"] = tuple(
            kwargs.pop(k) if k else default for k, default in zip(pair, (0.9, 0.999))
        )
    for key, value in kwargs.items():
        if key in takes:
            found[key] = value
            continue
        names = [group for group in SYNONYMS if key in group]
        other = next((n for group in names for n in group if n in takes and n not in kwargs), None)
        if other is None:
            if value in (0, 0.0, False, None):
                continue  # an option that this side does not have, and that is off
            raise Uncomparable(
                f"{name} takes no {key!r}, it takes {', '.join(takes)}; "
                "say what each side gets with numpy_kwargs= and torch_kwargs="
            )
        found[other] = value
    return found


def named_arguments(target: Any) -> list[str]:
    """The arguments of a class or function by name; behind *args and **kwargs, its bases'."""
    found: list[str] = []
    for kind in getattr(target, "__mro__", (target,)):
        if inspect.isclass(kind) and "__init__" not in vars(kind):
            continue
        takes = inspect.signature(kind).parameters.values()
        found = [*(p.name for p in takes if p.kind not in ANY), *found]
        if not any(p.kind in ANY for p in takes):
            break
    return list(dict.fromkeys(found))


ANY = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


class OwnOptimizer:
    """A NumPy optimizer: `run(scenario)` gives the parameters after every step."""

    def __init__(
        self, mine: Any, args: Sequence[Any], kwargs: Mapping[str, Any], notes: list[str]
    ) -> None:
        self.mine, self.args = mine, tuple(args)
        self.is_class = inspect.isclass(mine)
        self.is_function = inspect.isroutine(mine) or hasattr(mine, "keywords")
        self.name = getattr(mine, "__name__", None) or type(mine).__name__
        target = mine if self.is_class or self.is_function else None
        takes = named_arguments(target) if target else []
        self.kwargs = translate(kwargs, takes, self.name) if target else {}
        self.holds = self.is_class and bool(takes) and takes[0] in PARAMS
        if self.holds:
            sample: Any = self._make([Parameter(np.zeros(2))])
        elif self.is_function:
            sample = mine
        else:
            sample = self._make(None)
        self.method = self._method(sample)
        self.form = self._form(sample)
        self.has_rate = (
            self.is_function
            and any(k in takes for k in RATE_NAMES)
            or (not self.is_function and self._rate_holder(sample) is not None)
        )
        self.skips = self.form != "given"
        if not self.skips:
            notes.append(
                "'a missing gradient' not tried: yours is handed all gradients in one list"
            )
        if self.form == "function":
            notes += [
                f"{name} starts as zeros" for name in self._states(self.mine) if name in STATES
            ]
        if self.form == "one":
            notes.append("one instance for each parameter: yours has no name to tell them apart")

    def _make(self, params: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.is_class:
                first = (params,) if self.holds else ()
                return self.mine(*first, *copy.deepcopy(self.args), **copy.deepcopy(self.kwargs))
            return self.mine if self.is_function else copy.deepcopy(self.mine)

    def _method(self, sample: Any) -> str:
        if self.is_function:
            return ""
        found = [m for m in STEPS if callable(getattr(sample, m, None))]
        if not found:
            raise Uncomparable(f"{self.name} has no step: wanted one of {', '.join(STEPS)}")
        return found[0]

    def _form(self, sample: Any) -> str:
        """How it is called: "held", "keyed", "one", "dict", "list" or "function"."""
        if self.is_function:
            return "function"
        takes = self._takes(sample)
        wanted = [p for p in takes if p.default is p.empty]
        if self.holds and not wanted:
            return "held"
        if any(p.name in KEYS for p in takes):
            return "keyed"
        w, g = np.array([1.0, -2.0]), np.array([0.3, 0.7])
        if self.holds and len(wanted) == 1 and is_gradient_name(wanted[0].name):
            with contextlib.suppress(Exception):
                held = [w.copy()]
                self._go(self._make(held), [g], held)
                if held[0].shape == w.shape and not np.array_equal(held[0], w):
                    return "given"
        for form, params, grads in (
            ("one", w.copy(), g),
            ("dict", {"p0": w.copy()}, {"p0": g}),
            ("list", [w.copy()], [g]),
        ):
            try:
                fresh = self._make([Parameter(w)] if self.holds else None)
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    returned = self._call(fresh, params, grads, "p0")
                after = _first(returned if returned is not None else params)
                if after.shape == w.shape and not np.array_equal(after, w):
                    return form
            except Exception:
                continue
        names = ", ".join(p.name for p in takes)
        raise Uncomparable(
            f"{self.name}.{self.method}({names}) is neither step(), "
            f"update(weights, gradients, key), "
            "nor one that takes arrays, dicts or lists of parameters and gradients"
        )

    def _go(self, instance: Any, grads: list[Array], held: list[Array]) -> list[Array]:
        """A step of one that was given its arrays when it was made, in place or returned."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            returned = getattr(instance, self.method)(grads)
        if isinstance(returned, list) and len(returned) == len(held):
            held[:] = returned
        for name in (*PARAMS, "p", "ps"):
            kept = getattr(instance, name, None)
            if isinstance(kept, list) and len(kept) == len(held):
                held[:] = kept
        return held

    def _states(self, function: Any) -> list[str]:
        """What a function wants back from call to call and has no default for."""
        wanted = [p for p in self._takes(function) if p.default is p.empty]
        return [p.name for p in wanted[2:] if p.name != "t"]

    def _takes(self, instance: Any) -> list[inspect.Parameter]:
        function = instance if self.is_function else getattr(instance, self.method)
        return [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]

    def _call(self, instance: Any, params: Any, grads: Any, key: str) -> Any:
        takes = self._takes(instance)
        values: dict[str, Any] = {}
        gradient = next((p.name for p in takes if is_gradient_name(p.name)), None)
        for n, p in enumerate(takes):
            if p.name == gradient or gradient is None and n == 1:
                values[p.name] = grads
            elif p.name in KEYS:
                values[p.name] = key
            elif p.default is p.empty and params is not None:
                values[p.name] = params
        return getattr(instance, self.method)(**values)

    def _rate_holder(self, instance: Any) -> Callable[[float], Any] | None:
        groups = getattr(instance, "param_groups", None)
        if groups:
            return lambda scale: [g.update(lr=g["lr"] * scale) for g in groups]
        for name in RATE_NAMES:
            if isinstance(getattr(instance, name, None), float | int):
                return lambda scale: setattr(instance, name, getattr(instance, name) * scale)
        return None

    def run(self, scenario: Any) -> tuple[dict[str, Array], str]:
        """Parameters after every step, by label; and what it raised, if it did."""
        found: dict[str, Array] = {}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                self._run(scenario, found)
        except Exception as error:
            return found, say(error)
        return found, ""

    def _run(self, scenario: Any, found: dict[str, Array]) -> None:
        params = [p.copy() for p in scenario.params]
        boxes = [Parameter(p) for p in params]
        states: list[Any] = [None] * len(params)
        rate = dict(self.kwargs)
        if self.form == "one":
            instances = [self._make(boxes[i : i + 1]) for i in range(len(params))]
        else:
            instances = [self._make(params if self.form == "given" else boxes)]
        for t, grads in enumerate(scenario.grads, 1):
            if t in scenario.rates:
                for instance in instances:
                    change = None if self.is_function else self._rate_holder(instance)
                    if change:
                        change(scenario.rates[t])
                if self.is_function:
                    names = inspect.signature(self.mine).parameters
                    name = next(k for k in RATE_NAMES if k in names)
                    rate[name] = rate.get(name, names[name].default) * scenario.rates[t]
                    for state in states:
                        for key in RATE_NAMES if isinstance(state, dict) else ():
                            if key in state:
                                state[key] *= scenario.rates[t]
            if self.form == "held":
                for box, g in zip(boxes, grads):
                    if scenario.in_place and box.grad is not None:
                        box.grad[...] = g
                    else:
                        box.grad = None if g is None else g.copy()
                getattr(instances[0], self.method)()
                params = [box.data for box in boxes]
            elif self.form == "given":
                params = self._go(instances[0], [np.array(g) for g in grads], params)
            elif self.form in ("dict", "list"):
                self._step_together(instances[0], params, grads)
            else:
                for i, g in enumerate(grads):
                    if g is None:
                        continue
                    if self.form == "function":
                        params[i], states[i] = self._apply(params[i], g.copy(), states[i], rate, t)
                        continue
                    instance = instances[i if self.form == "one" else 0]
                    returned = self._call(instance, params[i], g.copy(), f"layer{i}")
                    if returned is not None:
                        params[i] = _first(returned)
            for i, p in enumerate(params):
                for key, value in self._state(instances[0], boxes[i]).items():
                    found[f"step {t} state {i} {key}"] = np.array(value, dtype=np.float64)
                found[f"step {t} parameter {i}"] = np.array(p, dtype=np.float64)

    def _state(self, instance: Any, box: Parameter) -> Mapping[str, Array]:
        """What it keeps for a parameter, where it keeps it as torch does."""
        state = getattr(instance, "state", None)
        if self.form != "held" or not isinstance(state, Mapping) or box not in state:
            return {}
        return {k: v for k, v in state[box].items() if np.shape(v) == box.shape}

    def _step_together(
        self, instance: Any, params: list[Array], grads: Sequence[Array | None]
    ) -> None:
        at = [i for i, g in enumerate(grads) if g is not None]
        if self.form == "dict":
            mine: Any = {f"p{i}": params[i] for i in at}
            theirs: Any = {f"p{i}": np.array(grads[i]) for i in at}
        else:
            mine, theirs = [params[i] for i in at], [np.array(grads[i]) for i in at]
        returned = self._call(instance, mine, theirs, "")
        after = mine if returned is None else returned
        if isinstance(after, tuple) and len(after) == 2 and isinstance(after[0], dict | list):
            after = after[0]
        for n, i in enumerate(at):
            params[i] = after[f"p{i}"] if isinstance(after, dict) else after[n]

    def _apply(
        self, w: Array, g: Array, state: Any, rate: Mapping[str, Any], t: int
    ) -> tuple[Array, Any]:
        kwargs: dict[str, Any] = dict(rate)
        takes = self._takes(self.mine)
        held = next((p.name for p in takes if p.name in STATES), None)
        if held and state is not None:
            kwargs[held] = state
        for name in self._states(self.mine):
            kwargs.setdefault(name, np.zeros_like(w) if state is None else state)
        if any(p.name == "t" and p.name not in kwargs for p in takes):
            kwargs["t"] = t
        returned = self.mine(w, g, **kwargs)
        if isinstance(returned, tuple):
            rest = returned[1] if len(returned) == 2 else returned[1:]
            return np.asarray(returned[0]), rest
        return w if returned is None else np.asarray(returned), state


def _first(returned: Any) -> Array:
    if isinstance(returned, Mapping):
        return np.asarray(next(iter(returned.values())))
    if isinstance(returned, list | tuple):
        return np.asarray(returned[0])
    return np.asarray(returned)

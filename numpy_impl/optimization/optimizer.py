"""What every optimizer stands on: parameter groups, state, and the walk in cache-sized blocks."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from numpy_impl.module import Array, Parameter, RemovableHandle, zero_grads

__all__ = ["Optimizer"]

BLOCK = 2**17
"""Bytes of each array that are updated together, all passes of the formula before the next: with
moments and scratch they stay in one L2 cache."""
LINE = 64
"""Bytes of a cache line. Writing a vector that straddles two takes twice as long."""
SMALL, TOGETHER = 4096, 8
"""Elements up to which a parameter is small, and how many small ones share their states' memory:
their update is then one row of arithmetic, where the calls would cost more than the numbers."""

Group = dict[str, Any]
StepHook = Callable[["Optimizer", tuple[Any, ...], dict[str, Any]], Any]


class Optimizer:
    """Change parameters by their gradients, group by group, each group with its own options.

    A subclass writes `update`, the formula over `blocks`, and `check`, which options are valid.
    A parameter without a gradient is skipped: it does not move, decay or count a step.

    `state_dict()` has torch's structure and torch's keys, those that only choose a kernel
    (`foreach`, `fused`, `capturable`, `differentiable`) at torch's defaults, so that it loads
    there. This side has one kernel and takes none of them as arguments.

    Args:
        params: parameters, (name, parameter) pairs, or dicts `{"params": ..., "lr": ...}`.
        defaults: the options of a group that does not set them itself.

    Raises:
        TypeError: something in params is not a Parameter.
        ValueError: no parameters, one named twice (in one group torch only warns), or an option
            out of range.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.check(defaults)
        if isinstance(params, Parameter | np.ndarray):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Parameters or "
                f"dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Parameter, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._scratch: dict[Any, Array] = {}
        self._joined: dict[tuple[Parameter, ...], dict[str, Array]] = {}
        self._opt_called = False
        self._pre_hooks: dict[int, StepHook] = {}
        self._post_hooks: dict[int, StepHook] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    # ---- what a subclass writes ---------------------------------------------------------------

    def update(self, bundle: list[Parameter], group: Group) -> None:
        """Move parameters of one age, in place, by their gradients."""
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of range."""

    # ---- what a user calls --------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        closure, if given, computes the gradients anew; its loss is returned.

        Raises:
            RuntimeError: a gradient or a state has another shape or dtype than its parameter
                (converted since the last step?); nothing has moved then.
        """
        given = (self,) if closure is None else (self, closure)  # as torch counts them
        for hook in list(self._pre_hooks.values()):
            hook(self, given, {})
        loss = None if closure is None else closure()
        work = [(bundle, group) for group in self.param_groups for bundle in self.bundles(group)]
        with np.errstate(all="ignore"):  # what overflows becomes inf in silence, as in torch
            for bundle, group in work:
                self.update(bundle, group)
        self._opt_called = True
        for hook in list(self._post_hooks.values()):
            hook(self, given, {})
        return loss

    def register_step_pre_hook(self, hook: StepHook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` at the beginning of every step.

        What it returns is not looked at (torch would take it for other arguments).
        """
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: StepHook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after every step that was made."""
        return RemovableHandle(self._post_hooks, hook)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False fill them with zeros."""
        zero_grads(self._parameters(), set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take in more parameters, with options of their own: {"params": [...], "lr": 0.1}."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        if "params" not in param_group:
            raise ValueError(f"a parameter group needs 'params', got only {list(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("the parameters of a group need an order, wanted a list, got a set")
        params = [params] if isinstance(params, Parameter | np.ndarray) else list(params)
        group = {**self.defaults, **param_group, "params": params}
        names = [entry[0] for entry in params if isinstance(entry, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names, "
                    f"got {len(names)} names for {len(params)} parameters"
                )
            group["params"] = params = [entry[1] for entry in params]
            group["param_names"] = names
        for p in params:
            if not isinstance(p, Parameter):
                raise TypeError(
                    "optimizer can only optimize Parameters, "
                    f"but one of the params is {type(p).__name__}"
                )
        if any(("param_names" in group) != ("param_names" in other) for other in self.param_groups):
            raise ValueError("all optimizer param groups should be with/without names")
        if len(set(params)) < len(params):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")
        if not set(params).isdisjoint(self._parameters()):
            raise ValueError("some parameters appear in more than one parameter group")
        self.check(group)
        self.param_groups.append(group)

    def _parameters(self) -> Iterator[Parameter]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    # ---- the walk -------------------------------------------------------------------------------

    def bundles(self, group: Group) -> Iterator[list[Parameter]]:
        """The parameters that have a gradient, by age and dtype; small ones apart, a few at a time.

        Raises RuntimeError for a gradient or a state that is not like its parameter.
        """
        found: dict[Any, list[Parameter]] = {}
        for p in group["params"]:
            if p.grad is not None:
                state = self.state.get(p, {})
                _require_like(p, state)
                age = float(state["step"]) if "step" in state else bool(state)
                found.setdefault((age, p.data.dtype, p.data.size <= SMALL), []).append(p)
        for bundle in found.values():
            for i in range(0, len(bundle), TOGETHER):
                yield bundle[i : i + TOGETHER]

    def begin(self, bundle: list[Parameter], names: Sequence[str]) -> float:
        """Make state of zeros where there is none yet, count the step, and return its number."""
        new = [p for p in bundle if not self.state[p]]
        if new:
            for part in [new] if new[0].data.size <= SMALL else [[p] for p in new]:
                self._make(part, names)
        for p in bundle:
            self.state[p]["step"][()] += 1  # as a number: a tenth of the time of array arithmetic
        return float(self.state[bundle[0]]["step"])

    def _make(self, params: list[Parameter], names: Sequence[str]) -> None:
        """States of zeros, each name's side by side in one row of memory."""
        size = sum(p.data.size for p in params)
        rows = {name: np.zeros(size, params[0].data.dtype) for name in names}
        stop = 0
        for p in params:
            start, stop = stop, stop + p.data.size
            self.state[p]["step"] = np.zeros((), np.float32)
            for name, row in rows.items():
                self.state[p][name] = row[start:stop].reshape(p.data.shape)
        if len(params) > 1:
            self._joined[tuple(params)] = rows

    def blocks(
        self, bundle: list[Parameter], names: Sequence[str] = ()
    ) -> Iterator[tuple[Array, ...]]:
        """Walk a bundle in blocks: data, gradient, each named state, then two of scratch.

        What is written into a block is written into the arrays, however they lie in memory. A
        large parameter comes piece by piece; small ones whose states lie side by side come as one
        row, and their data is written back at the end. Scratch is the optimizer's own and kept,
        so that a step allocates nothing.
        """
        dtype = bundle[0].data.dtype
        rows = self._joined.get(tuple(bundle))
        if rows and all(self.state[p][name].base is rows[name] for p in bundle for name in names):
            data, g, s, h = self._spare(4, sum(p.data.size for p in bundle), dtype)
            np.concatenate([p.data for p in bundle], axis=None, out=data)
            np.concatenate([p.grad for p in bundle], axis=None, out=g)
            yield data, g, *(rows[name] for name in names), s, h
            stop = 0
            for p in bundle:
                start, stop = stop, stop + p.data.size
                p.data[...] = data[start:stop].reshape(p.data.shape)
            return
        block = BLOCK // dtype.itemsize
        spare = self._spare(2, block, dtype)
        for p in bundle:
            state, data = self.state.get(p, {}), p.data
            arrays: list[Any] = [data, p.grad, *[state[name] for name in names]]
            if data.size <= block:
                yield *arrays, *(row[: data.size].reshape(data.shape) for row in spare)
                continue
            access = [["readwrite"], ["readonly"], *[["readwrite"]] * len(names)]
            flags: Any = ["external_loop", "buffered"]
            with np.nditer(arrays, flags, access, buffersize=block) as walk:  # type: ignore[arg-type]
                for views in walk:
                    yield *views, *(row[: views[0].size] for row in spare)

    def _spare(self, rows: int, size: int, dtype: np.dtype[Any]) -> Array:
        """Rows of scratch, each beginning with a cache line."""
        width = -(-size * dtype.itemsize // LINE) * LINE  # in bytes, whole lines
        lines = self._scratch.get(dtype)
        if lines is None or lines.size < rows * width:
            raw = np.empty(rows * width + LINE, np.uint8)
            start = -raw.ctypes.data % LINE
            lines = self._scratch[dtype] = raw[start : start + rows * width]
        return lines[: rows * width].view(dtype).reshape(rows, -1)[:, :size]

    # ---- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state by the parameters' numbers, and the groups: live arrays, as in torch."""
        number: dict[Parameter, int] = {}
        for i, p in enumerate(self._parameters()):
            number.setdefault(p, i)
        return {
            "state": {number[p]: state for p, state in self.state.items()},
            "param_groups": [
                group | {"params": [number[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over copies of a saved state and its options; tensors will do for arrays.

        Everything but `step` takes its parameter's dtype.

        Raises:
            ValueError: another number of groups or parameters, or a state of another shape.
                Nothing has been loaded then.
        """
        saved = copy.deepcopy(list(state_dict["param_groups"]))
        if len(saved) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"wanted {len(self.param_groups)}, got {len(saved)}"
            )
        for old, new in zip(self.param_groups, saved):
            if len(old["params"]) != len(new["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    f"optimizer's group: wanted {len(old['params'])}, got {len(new['params'])}"
                )
        numbers = chain.from_iterable(group["params"] for group in saved)
        own = dict(zip(numbers, self._parameters()))
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, entries in state_dict["state"].items():
            if number not in own:
                state[number] = entries
                continue
            for key, value in entries.items():
                if value is not None:
                    state[own[number]][key] = _like(own[number], key, value)
        for old, new in zip(self.param_groups, saved):
            new["params"] = old["params"]
            if "param_names" in old:
                new.setdefault("param_names", old["param_names"])
            for key, value in self.defaults.items():
                new.setdefault(key, value)
        self.state, self.param_groups, self._joined = state, saved, {}

    def __getstate__(self) -> dict[str, Any]:
        # a copy has scratch of its own, and nobody watches it
        own: dict[str, Any] = {"_scratch": {}, "_joined": {}, "_pre_hooks": {}, "_post_hooks": {}}
        return self.__dict__ | own

    def __repr__(self) -> str:
        blocks = []
        for i, group in enumerate(self.param_groups):
            options = [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
            blocks.append(f"Parameter Group {i}\n{''.join(options)}")
        listing = "\n".join(blocks)
        return f"{type(self).__name__} (\n{listing})"


def _require_like(p: Parameter, state: dict[str, Any]) -> None:
    """RuntimeError unless the gradient and the state have the parameter's shape and dtype."""
    shape, dtype = p.data.shape, p.data.dtype
    for name, array in (("gradient", p.grad), *state.items()):
        if name != "step" and (array.shape != shape or array.dtype != dtype):
            raise RuntimeError(
                f"{name} must be like its parameter, {shape} {dtype}, "
                f"got {array.shape} {array.dtype}"
            )


def _like(p: Parameter, key: str, value: Any) -> Any:
    """A copy of one saved entry, in the parameter's dtype."""
    if key == "step":  # a plain number in older files, and never the parameter's dtype
        return np.asarray(value, None if hasattr(value, "__array__") else np.float32).copy()
    if not hasattr(value, "__array__"):
        return copy.deepcopy(value)
    array = np.asarray(value).astype(p.dtype)  # a copy
    if array.ndim and array.shape != p.shape:
        raise ValueError(f"state {key!r} must have shape {p.shape}, got {array.shape}")
    return array


def refuse_unless(valid: bool, name: str, value: Any, wanted: str = "at least 0") -> None:
    """Raise ValueError in torch's words unless valid."""
    if not valid:
        raise ValueError(f"Invalid {name}: {value} (wanted {wanted})")


def descent(g: Array, p: Array, weight_decay: float, maximize: bool, out: Array) -> Array:
    """Where the objective and its L2 penalty fall: g, or -g to maximize, + weight_decay * p."""
    if weight_decay:
        np.multiply(p, weight_decay, out=out)
        return np.subtract(out, g, out=out) if maximize else np.add(out, g, out=out)
    return np.negative(g, out=out) if maximize else g


def lerp(average: Array, x: Array, weight: float, s: Array) -> None:
    """average <- (1 - weight) * average + weight * x in place, through the scratch s.

    From the nearer end, so that a weight of 1 gives x to the last digit.
    """
    np.subtract(x, average, out=s)
    if weight < 0.5:
        s *= weight
        average += s
    else:
        s *= 1 - weight
        np.subtract(x, s, out=average)


def add_product(average: Array, x: Array, keep: float, s: Array) -> None:
    """average <- keep * average + (1 - keep) * x^2 in place, through the scratch s."""
    np.multiply(x, 1 - keep, out=s)
    s *= x
    average *= keep
    average += s

"""Calling somebody else's backward, and telling apart what it returns and leaves behind."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from parity_tests.harness.compare.mapping import Uncomparable, packed, tokens
from parity_tests.harness.compare.own_names import (
    CACHES,
    OUTPUTS,
    RATES,
    TARGETS,
    Ran,
    _same,
    is_gradient_name,
    say,
)
from parity_tests.harness.compare.own_state import find_gradient, gradient_names, leaves, reach

if TYPE_CHECKING:
    from parity_tests.harness.compare.own_code import OwnCode

Array = np.ndarray[Any, np.dtype[Any]]


def go_back(
    code: OwnCode,
    ran: Ran,
    instance: Any,
    given: Mapping[str, Array],
    inputs: list[Array],
    raw: Any,
    cache: Any,
) -> None:
    """Call backward and put what it gives into `ran`, by label."""
    y = ran.found["forward output"]
    dy: Any = [x for k, x in given.items() if k.startswith("cotangent")]
    kept = [x.copy() for x in dy]
    dy = tuple(dy) if len(dy) > 1 else (dy[0] if dy else None)
    function = code.backward_function or getattr(instance, code.backward_name or "")
    held = {} if code.is_function else leaves(instance)
    before = {
        link.slot: np.array(reach(instance, held[link.slot][0]))
        for link in code.links
        if not code.is_function
        and link.slot in held
        and reach(instance, held[link.slot][0]) is not None
    }
    try:
        values, kwargs, rated = _arguments(
            code, function, dy, given, inputs, raw, cache, y, instance
        )
        returned = function(*values, **kwargs)
    except Uncomparable:
        raise
    except Exception as error:
        ran.problems.append(("backward", say(error)))
        return
    now = [x for k, x in given.items() if k.startswith("cotangent")]
    if any(not _same(a, b) for a, b in zip(now, kept)):
        ran.mutated.append("backward changed the gradient it was handed")
    slots = [link.slot for link in code.links if link.key not in code.buffers]
    dxs, grads = _sort(code, returned, inputs, slots, instance, ran)
    for i, dx in enumerate(dxs):
        if dx is not None:
            ran.found[f"gradient input {i}"] = np.array(dx)
    for link in code.links:
        if link.key in code.buffers or link.scalar:
            continue
        grad = grads.get(link.slot)
        if grad is None and link.slot in held:
            if link.slot in code.grads:
                places = leaves(instance)
                where = ".".join(tokens(code.grads[link.slot]))
                if where not in places:
                    raise Uncomparable(
                        f"grads says {link.slot} has its gradient in {where}; there is "
                        + ", ".join(places)
                    )
                grad = places[where][1]
            elif rated:
                after = reach(instance, held[link.slot][0])
                grad = find_gradient(instance, held[link.slot][0])
                if grad is None:
                    grad = (before[link.slot] - after) / code.rate
                    ran.notes.append("gradients read off the update that backward makes")
            if grad is None:
                grad = find_gradient(instance, held[link.slot][0])
        if grad is None:
            ran.notes.append(f"missing gradient {link.key}")
            continue
        grad = np.array(grad)
        if grad.shape != link.shape and packed(grad.shape) == packed(link.shape):
            grad = grad.reshape(link.shape)
        if grad.shape != link.shape:
            ran.problems.append(
                (
                    f"gradient {link.key}",
                    f"gradient of {link.slot} has shape {grad.shape}, {link.slot} has {link.shape}",
                )
            )
            ran.found[f"gradient {link.key}"] = grad
        else:
            ran.found[f"gradient {link.key}"] = link.to_key(grad)


def _arguments(
    code: OwnCode,
    function: Callable[..., Any],
    dy: Any,
    given: Mapping[str, Array],
    inputs: list[Array],
    raw: Any,
    cache: Any,
    y: Array,
    instance: Any,
) -> tuple[list[Any], dict[str, Any], bool]:
    """What to call backward with, by the names of its arguments."""
    if code._takes is None:
        code._takes = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    takes = code._takes
    state = code.arguments(instance) if code.is_function else {}
    known: dict[str, Any] = {
        **code.forward_kwargs,
        **state,
        **dict(zip(code.input_names, inputs)),
    }
    grad_at = next((p.name for p in takes if is_gradient_name(p.name)), None)
    wants_target = grad_at is None and "target" in given
    if grad_at is None and takes and not wants_target:
        first = takes[0]
        plain = first.name not in known and first.name not in (*TARGETS, *CACHES)
        if plain and first.default is first.empty:
            grad_at = first.name
    values: list[Any] = []
    named: dict[str, Any] = {}
    rated = False
    for p in takes:
        name, low = p.name, p.name.lower()
        if name == grad_at:
            value = dy
        elif low in TARGETS and wants_target:
            value = given["target"]
        elif name in known:
            value = known[name]
        elif low in ("x", "input", "inputs"):
            value = inputs[0]
        elif low in CACHES:
            value = cache if isinstance(raw, tuple) else raw
        elif low in OUTPUTS:
            value = y
        elif low in RATES:
            value, rated = code.rate, True
            code.rated = True
        elif p.default is not p.empty:
            value = p.default
        elif low in TARGETS:
            raise Uncomparable(
                f"{code.name}'s backward wants a target ({name}): say which loss it "
                "differentiates, for example loss=torch.nn.MSELoss()"
            )
        else:
            raise Uncomparable(
                f"{code.name}'s backward wants {name!r}, and nothing here is called that: "
                f"rename it (dy, cache, x, out, {', '.join(known) or 'y'}), or pass "
                "backward=lambda dy, cache: ..."
            )
        value = copy.copy(value) if isinstance(value, list) else value
        if p.kind is p.KEYWORD_ONLY:
            named[name] = value
        else:
            values.append(value)
    code.takes_cotangent = grad_at is not None
    return values, named, rated


def _sort(
    code: OwnCode, returned: Any, inputs: list[Array], slots: list[str], instance: Any, ran: Ran
) -> tuple[list[Array | None], dict[str, Any]]:
    """What backward returned, told apart into gradients of inputs and of parameters."""
    floats = [x for x in inputs if x.dtype.kind == "f"]
    dxs: list[Array | None] = []
    grads: dict[str, Any] = {}
    if returned is None:
        for name in ("dinputs", "dinput", "dx", "dX", "grad_input", "input_grad", "grad_x"):
            value = getattr(instance, name, None)
            if isinstance(value, np.ndarray):
                return [value], grads
        return dxs, grads
    if isinstance(returned, np.ndarray | np.floating | float):
        if len(slots) == 1 and code.is_function and np.shape(returned) != floats[0].shape:
            return [], {slots[0]: returned}
        return [np.asarray(returned)], grads
    if isinstance(returned, Mapping):
        for i, name in enumerate(code.input_names):
            for key in (name, *gradient_names(name), "dx", "dX", "x", "input"):
                if key in returned and i == 0 or key in returned and key not in ("dx", "dX", "x"):
                    dxs.append(returned[key])
                    break
        for slot in slots:
            last = tokens(slot)[-1]
            for key in (slot, last, *gradient_names(last)):
                if key in returned:
                    grads[slot] = returned[key]
                    break
        return dxs, grads
    items = list(returned)
    if items and all(isinstance(i, list | tuple) for i in items):
        for item in items:  # (gradients_w, gradients_b)
            for group in _groups(slots):
                if len(group) == len(item) and group[0] not in grads:
                    shapes = [_shape_of(code, s) for s in group]
                    if all(packed(np.shape(g)) == packed(s) for g, s in zip(item, shapes)):
                        grads |= dict(zip(group, item))
                        break
        return dxs, grads
    for item in [i for i in items if isinstance(i, Mapping)]:
        more, named = _sort(code, item, inputs, slots, instance, ran)
        dxs, grads = dxs + more, grads | named
    arrays: list[Any] = [
        i for i in items if isinstance(i, np.ndarray | np.floating | float) or i is None
    ]
    while (
        arrays
        and len(dxs) < len(floats)
        and (
            arrays[0] is None
            or np.shape(arrays[0]) == floats[len(dxs)].shape
            or len(arrays) > len([s for s in slots if s not in grads])
        )
    ):
        dxs.append(arrays.pop(0))
    rest = [s for s in slots if s not in grads]
    shaped = any(packed(_shape_of(code, s)) == packed(np.shape(a)) for s, a in zip(rest, arrays))
    if len(arrays) == len(rest) and (shaped or code.is_function):
        grads |= {s: a for s, a in zip(rest, arrays) if a is not None}
    else:
        left = []
        for array in arrays:
            fits = [s for s in rest if packed(_shape_of(code, s)) == packed(np.shape(array))]
            if len(fits) == 1:
                grads[fits[0]] = array
            elif not fits:
                left.append(array)
        if len(left) == len(floats) - len(dxs):  # gradients of inputs, whatever shape they have
            dxs += left
    return dxs, grads


def _shape_of(code: OwnCode, slot: str) -> tuple[int, ...]:
    return next((link.shape for link in code.links if link.slot == slot), ())


def _groups(slots: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for slot in slots:
        groups.setdefault(".".join(t for t in tokens(re.sub(r"\d+", "", slot))), []).append(slot)
    return list(groups.values())

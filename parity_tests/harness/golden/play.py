"""Computing a vector with NumPy alone: nothing here imports torch, nor anything that does."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import numpy_impl
from numpy_impl.module import Parameter
from numpy_impl.optimization import SGD
from numpy_impl.random import Generator
from parity_tests.harness.golden import blueprint
from parity_tests.harness.golden.vectors import Vector
from parity_tests.harness.handed import Handed
from parity_tests.harness.inputs import Array, stacked
from parity_tests.harness.signatures import backward_arguments

Given = Mapping[str, Array]
Plan = Mapping[str, Any]


def play(vector: Vector) -> dict[str, Array]:
    """Everything that the NumPy side computes for a vector, by torch's labels."""
    plan = vector.blueprint
    given = {k: x.copy() for k, x in vector.given.items()}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a chain of schedules warns as torch's does
        found = PLAYERS[plan["kind"]](plan, given)
    return {k: np.asarray(x) for k, x in found.items()}


def _module(plan: Plan, given: Given) -> dict[str, Array]:
    """Forward, backward, and what they leave in gradients and buffers."""
    module = blueprint.read(plan["module"]).to("float64")
    module.load_state_dict(_named(given, "state "))
    module.train(plan["mode"] == "train")
    numpy_impl.manual_seed(plan["seed"])
    y = module(*_inputs(given))
    found = {"forward output": y}
    if "cotangent" in given:
        found |= _gradients(module.backward(given["cotangent"]))
    for k, p in module.named_parameters():
        found[f"gradient {k}"] = np.zeros_like(p.data) if p.grad is None else p.grad
    return found | {f"buffer {k}": b.copy() for k, b in module.named_buffers()}


def _function(plan: Plan, given: Given) -> dict[str, Array]:
    """A function's output, and what its backward makes of a cotangent."""
    inputs, config = _inputs(given), blueprint.read(plan["config"])
    config = {k: v.astype(float) if _is_floats(v) else v for k, v in config.items()}
    function = blueprint.named(plan["function"])
    numpy_impl.manual_seed(plan["seed"])
    y = function(*inputs, **config)
    found = {"forward output": y}
    if "cotangent" in given:
        backward = blueprint.named(plan["backward"])
        more = backward_arguments(function, backward, y, inputs, config)
        found |= _gradients(backward(given["cotangent"], **more))
    return found


def _initializer(plan: Plan, given: Given) -> dict[str, Array]:
    """An array filled by noise that is handed over, or from a seed."""
    function, config = blueprint.named(plan["function"]), blueprint.read(plan["config"])
    if "generator" in inspect.signature(function).parameters:
        seeded = Generator().manual_seed(plan["seed"])
        config["generator"] = Handed(given) if given else seeded
    return {"forward values": function(np.full(plan["shape"], np.nan), **config)}


def _optimizer(plan: Plan, given: Given) -> dict[str, Array]:
    """Parameters and state after every step of a course."""
    params = [Parameter(x) for x in _named(given, "start ").values()]
    optimizer = blueprint.named(plan["optimizer"])(params, **blueprint.read(plan["config"]))
    grads = list(_named(given, "gradient ").values())
    missing = {tuple(pair) for pair in plan["missing"]}
    steps: list[dict[str, Array]] = []
    for step in range(len(grads[0])):
        for group in optimizer.param_groups:
            group["lr"] *= plan["rates"].get(str(step), 1)
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            p.grad = None if (step, i) in missing else g[step].copy()
        optimizer.step()
        found: dict[str, Array] = {}
        for i, p in enumerate(params):
            state = {k: np.array(v) for k, v in optimizer.state.get(p, {}).items()}
            if "step" in state:
                state["step"] = state["step"].astype(np.int64)
            found |= {f"step {k} {i}": v for k, v in state.items()}
            found[f"step parameter {i}"] = p.data.copy()
        found["step lr"] = np.array([float(group["lr"]) for group in optimizer.param_groups])
        steps.append(found)
    return stacked(steps)


def _schedule(plan: Plan, given: Given) -> dict[str, Array]:
    """The rate of every group at the start and after every epoch."""
    groups = [{"params": [Parameter(np.zeros(2))], "lr": r} for r in given["base"].tolist()]
    optimizer = SGD(groups)
    schedule = blueprint.read(plan["schedule"], optimizer)
    rates = [[group["lr"] for group in optimizer.param_groups]]
    for epoch in range(plan["epochs"]):
        if epoch in plan["by hand"]:
            for group, rate in zip(optimizer.param_groups, given["by hand"], strict=True):
                group["lr"] = float(rate)
        optimizer.step()
        schedule.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    return {f"step lr {i}": column for i, column in enumerate(np.array(rates, float).T)}


def _stream(plan: Plan, given: Given) -> dict[str, Array]:
    """Draws from one seed, one after the other; the exact ones by their bits."""
    generator = Generator().manual_seed(plan["seed"])
    found = {}
    for i, (name, method, args, exact) in enumerate(plan["draws"]):
        x = getattr(generator, method)(*_draw(args))
        found[f"draw {i} {name}"] = bits(x) if exact else x
    return found


def bits(x: Array) -> Array:
    """Floating-point numbers by their bits, for where they have to be equal to the last."""
    return x.view(f"i{x.itemsize}").astype(np.int64) if x.dtype.kind == "f" else x


def _draw(args: Sequence[Any]) -> list[Any]:
    return [tuple(a) if isinstance(a, list) else a for a in args]


PLAYERS: Mapping[str, Callable[[Plan, Given], Mapping[str, Any]]] = {
    "module": _module,
    "function": _function,
    "initializer": _initializer,
    "optimizer": _optimizer,
    "schedule": _schedule,
    "stream": _stream,
}


def _named(given: Given, prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): x for k, x in given.items() if k.startswith(prefix)}


def _inputs(given: Given) -> list[Array]:
    return list(_named(given, "input ").values())


def _gradients(dx: Any) -> dict[str, Array]:
    grads = dx if isinstance(dx, tuple) else (dx,)
    return {f"gradient input {i}": grad for i, grad in enumerate(grads)}


def _is_floats(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"

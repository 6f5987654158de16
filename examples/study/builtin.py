"""What torch's own classes and functions do out of sight, read off the installed torch.

Where the torch side is a built-in there is no source of ours to lay beside NumPy's. Its signature,
what it keeps as state, the name of its backward and what autograd saves for it say the same.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from parity_tests.harness.bridge import to_torch
from parity_tests.harness.case import Case, Settings
from parity_tests.harness.signatures import TORCH_ONLY, parameters

Facts = list[tuple[str, str]]


def is_builtin(thing: Any) -> bool:
    """Whether it is torch's and not ours."""
    return (getattr(thing, "__module__", None) or "torch").split(".")[0] in ("torch", "builtins")


def signature(thing: Any, name: str) -> str:
    """As one would write the call, one argument a line where it is long; rare ones left out."""
    found = parameters(thing) or []
    shown = [str(p.replace(annotation=p.empty)) for p in found if p.name not in TORCH_ONLY]
    head = f"class {name}" if inspect.isclass(thing) else f"def {name}"
    short = f"{head}({', '.join(shown)}): ..."
    if len(short) <= 72:
        return short
    return f"{head}(\n" + "".join(f"    {p},\n" for p in shown) + "): ..."


def facts(thing: Any, cases: list[type[Case]]) -> Facts:
    """What running it shows: state, backward, what is kept for it. Nothing where nothing runs."""
    for case in cases:
        if case.torch is thing:
            try:
                return _run(thing, case)
            except Exception:  # a case that builds its inputs in a way of its own
                continue
    return []


def _run(thing: Any, case: type[Case]) -> Facts:
    if inspect.isclass(thing) and issubclass(thing, torch.nn.Module):
        return _module(case)
    if inspect.isclass(thing) and issubclass(thing, torch.optim.Optimizer):
        return _optimizer(thing, case)
    if inspect.isclass(thing) and issubclass(thing, torch.optim.lr_scheduler.LRScheduler):
        return _schedule(thing, case)
    return _function(case)


def _module(case: Any) -> Facts:
    made, config = case(), min(case.configs, key=len)
    module = made.build_torch(config, torch.float64)
    parameter_names = dict(module.named_parameters())
    rows = [
        f"{key} {tuple(value.shape)}, {'parameter' if key in parameter_names else 'buffer'}"
        for key, value in module.state_dict().items()
    ]
    rng = made.rng(Settings(), "study")
    regime = next(iter(made.regimes.values()))
    given = made.make_inputs(rng, list(made.inputs)[-1].of(config), regime, config)
    inputs = [to_torch(x) for x in given]
    if inputs[0].is_floating_point():
        inputs[0].requires_grad_()
    found = [("state_dict()", "; ".join(rows))] if rows else []
    return found + _graph(module(*inputs))


def _function(case: Any) -> Facts:
    made, config = case(), min(case.configs, key=len)
    rng = made.rng(Settings(), "study")
    regime = next(iter(made.regimes.values()))
    given = made.make_inputs(rng, list(made.inputs)[-1].of(config), regime, config)
    inputs = [to_torch(x) for x in given]
    inputs[0].requires_grad_()
    return _graph(made.call_torch(inputs, {k: to_torch(v) for k, v in config.items()}))


def _graph(y: Any) -> Facts:
    """The backward functions from the output on, and what the forward left for each of them."""
    todo, chain = [(y[0] if isinstance(y, tuple) else y).grad_fn], list[tuple[Any, str]]()
    while todo and len(chain) < 8:
        step = todo.pop(0)
        if step is None or type(step).__name__ == "AccumulateGrad":
            continue
        saved = [n.removeprefix("_saved_") for n in dir(step) if n.startswith("_saved_")]
        kept = ", ".join(sorted(n for n in saved if "_sym_" not in n))
        if step not in [s for s, _ in chain]:
            chain.append((step, f"{type(step).__name__}" + (f" (keeps {kept})" if kept else "")))
        todo += [after for after, _ in step.next_functions]
    return [("backward", " ← ".join(text for _, text in chain))] if chain else []


def _optimizer(thing: Any, case: Any) -> Facts:
    config = min(case.configs, key=len)
    p = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = thing([p], **config)
    p.grad = torch.ones_like(p)
    optimizer.step()
    state = optimizer.state_dict()["state"].get(0, {})
    rows = [f"{k} {tuple(v.shape)}" if torch.is_tensor(v) else str(k) for k, v in state.items()]
    text = "; ".join(rows) or "none"
    return [("state of a parameter (3, 2)", text), ("with", _call(config))]


def _schedule(thing: Any, case: Any) -> Facts:
    config = min(case.configs, key=len)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    state = thing(optimizer, **config).state_dict()
    return [("state_dict()", ", ".join(state)), ("with", _call(config))]


def _call(config: Any) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in config.items()) or "its defaults"

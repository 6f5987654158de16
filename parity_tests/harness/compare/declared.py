"""Suspicions from the suite: the mistakes that its cases declare for this very technique."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_impl.layers.container import Sequential
from parity_tests.harness.bridge import to_numpy
from parity_tests.harness.case import Case
from parity_tests.harness.compare.locate import renamed
from parity_tests.harness.compare.own_code import OwnCode
from parity_tests.harness.compare.reference import Reference
from parity_tests.harness.compare.suspects import Suspect
from parity_tests.harness.compare.trials import Trial
from parity_tests.harness.mistake import Mistake

Array = np.ndarray[Any, np.dtype[Any]]


def declared(reference: Reference, code: OwnCode) -> Iterator[Suspect]:
    """The mistakes that the suite names for this technique, run with the case's options."""
    for case in cases_for(reference.target):
        for name, mistake in case.mistakes.items():
            program = _program(case, mistake.stand_in, reference, code)
            if program is not None:
                yield stand_in(name, mistake, program)


def _program(case: Any, mistake: Any, reference: Reference, code: OwnCode) -> OwnCode | None:
    from parity_tests.harness.compare.mapping import connect

    inputs = code.inputs
    config = to_numpy(reference.config())
    forward, backward = mistake if isinstance(mistake, tuple) else (mistake, None)
    try:
        if case.numpy is Sequential and not reference.is_class:
            program = OwnCode(forward(*code.fresh()), inputs=inputs)  # of the very layers
        elif reference.is_module:
            takes = inspect.signature(forward).parameters
            if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
                takes = inspect.signature(case.numpy).parameters
            kept = {k: v for k, v in config.items() if k in takes}
            made = {"dtype": "float64"} if "dtype" in takes else {}
            module = forward(**kept, **made).to("float64")
            program = OwnCode(module, inputs=inputs)
        else:
            backward = backward or getattr(case, "backward", None)
            takes = inspect.signature(forward).parameters
            kept = {k: v for k, v in config.items() if k in takes and k not in ("input", "x")}
            program = OwnCode(forward, kwargs=kept, backward=backward, inputs=inputs)
        keys = {k: v.shape for k, v in reference.state.items()}
        program.links = connect(program.slots(keys), keys, optional=keys).links
        program.buffers = frozenset(k for k in keys if k not in reference.parameters)
    except Exception:
        return None
    return program


def stand_in(name: str, mistake: Mistake, program: OwnCode) -> Suspect:
    """A wrong NumPy program as a suspect."""

    def run(trial: Trial, backward: bool = True) -> Mapping[str, Array]:
        ran = program.run(
            trial.given, trial.mode, trial.seed, trial.set_buffers, backward, trial.warm
        )
        return renamed(trial, ran.found)

    return Suspect(name, spoken(name, mistake), run, 0.5, "mistake")


def spoken(name: str, mistake: Mistake) -> str:
    """A mistake as a cause: its name, what it does, who makes it; or what its docstring says."""
    first = mistake.stand_in[0] if isinstance(mistake.stand_in, tuple) else mistake.stand_in
    says = (getattr(first, "__doc__", None) or "").strip().split("\n")[0]
    words = " ".join(s for s in (mistake.effect, mistake.who) if s) or says
    return f"the known mistake '{name}'" + (f": {words}" if words else "")


@functools.lru_cache(maxsize=64)
def cases_for(target: Any) -> tuple[Any, ...]:
    """The suite's cases whose torch side is this very class or function."""
    name = getattr(target, "__name__", "")
    found = []
    root = Path(__file__).resolve().parents[2]
    for path in sorted(root.glob("*/test_*.py")) if name else []:
        try:
            text = path.read_text(encoding="utf-8")
            if name not in text or "mistakes" not in text or path.parent.name == "harness_tests":
                continue
            module = importlib.import_module(f"{root.name}.{path.parent.name}.{path.stem}")
        except Exception:  # a case that does not load cannot testify
            continue
        for case in vars(module).values():
            if not (inspect.isclass(case) and issubclass(case, Case)):
                continue
            if case.mistakes and (
                case.torch is target or getattr(case.torch, "__wrapped__", 0) is target
            ):
                found.append(case)
    return tuple(found)

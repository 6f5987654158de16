"""How the sides are called, and what they say at the edge of their numbers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from parity_tests.harness.case import Case, Log
from parity_tests.harness.inputs import Array, Config, Regime, same
from parity_tests.harness.refusal import REFUSALS
from parity_tests.harness.signatures import incompatibilities, parameters

if TYPE_CHECKING:
    from parity_tests.harness.function_case import FunctionParity
    from parity_tests.harness.module_case import ModuleParity

DTYPES = ("float32", "float64")


def called_alike(case: Case, log: Log, *_: Any) -> None:
    """Both sides take the same arguments with the same defaults; so do methods and the backward."""
    ours = type(case).numpy
    for one in (ours, *case.covers):
        twin = type(case).torch if one is ours else _twin(one)
        if one.__module__.startswith("numpy_impl") and twin is not None:
            found = incompatibilities(one, twin)
            log.require(not found, f"{one.__name__} is called otherwise: {found}")
            made = [repr(getattr(c, "__dataclass_params__", None)) for c in (one, twin)]
            log.require(made[0] == made[1], f"{one.__name__} is made otherwise: {made}")
            methods = [name for name in dir(one) if inspect.isclass(one) and name[0] != "_"]
            for name in methods:
                found = _other_defaults(getattr(one, name), getattr(twin, name, None))
                log.require(not found, f"{one.__name__}.{name} has other defaults: {found}")
    backward = getattr(ours if inspect.isclass(ours) else case, "backward", None)
    known = {p.name: p.default for p in parameters(ours) or ()}
    for i, p in enumerate(parameters(backward) or () if backward else ()):
        if p.name in known:
            log.require(_alike(p.default, known[p.name]), f"{p.name} is {p.default} in backward")
        elif i == 0 and p.default is not p.empty and inspect.isclass(ours):
            log.require(p.default == 1.0, f"backward starts from {p.default}")
    log.require(True, "")


def _twin(ours: Any) -> Any:
    """What goes by the same name in the same file of the torch side, if there is such a thing."""
    module = importlib.import_module(ours.__module__.replace("numpy_impl", "torch_impl", 1))
    return getattr(module, ours.__name__, None)


def _other_defaults(method: Any, twin: Any) -> list[str]:
    if not inspect.isfunction(method) or not inspect.isfunction(twin):
        return []
    known = {p.name: p.default for p in parameters(twin) or ()}
    both = [p for p in parameters(method) or () if p.name in known]
    return [f"{p.name}={p.default}" for p in both if not _alike(p.default, known[p.name])]


def _alike(default: Any, other: Any) -> bool:
    """The same default, or one and the same thing of both sides, each side's own SGD say."""
    names = getattr(default, "__name__", ""), getattr(other, "__name__", None)
    return default is other or bool(default == other) or names[0] == names[1]


def overflow_is_silent(
    case: ModuleParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """Where numbers leave their dtype they become infinite or NaN, as in torch, with no warning."""
    for dtype, regime in _vast():
        try:
            given = case.given(rng, list(case.inputs)[-1].of(config), regime, config)
        except REFUSALS:  # torch takes no such numbers: a matrix of them has no Cholesky factor
            log.require(True, "")
            continue
        for mode in case.modes:
            run = partial(case.run_numpy, _as(dtype, given, rng), config, mode, 5)
            _silent(log, f"{dtype} {mode}", run)


def function_overflow_is_silent(
    case: FunctionParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """The same for a function and its backward."""
    for dtype, regime in _vast():
        given = case.given(rng, list(case.inputs)[-1].of(config), regime, config)
        _silent(log, dtype, partial(case.run_numpy, _as(dtype, given, rng), config, 5))


def a_gradient_of_another_dtype(
    case: ModuleParity | FunctionParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """A float64 gradient of a float32 output gives what it gives rounded: float32 all through."""
    given = case.given(rng, list(case.inputs)[-1].of(config), case.plain(), config)
    run: Any = partial(case.run_numpy, config=config, seed=5)
    if "mode" in inspect.signature(case.run_numpy).parameters:
        run = partial(run, mode="train")
    narrow = {k: x.astype(np.float32) if x.dtype.kind == "f" else x for k, x in given.items()}
    wide = {k: given[k] if k == "cotangent" else x for k, x in narrow.items()}
    rounded, found = (run(g) for g in (narrow, wide))
    for k, x in found.items():
        alike = x.dtype == rounded[k].dtype and same(x, rounded[k])
        log.require(alike, f"{k}: {x.dtype} for a float64 gradient, {rounded[k].dtype} otherwise")


def _vast() -> Iterator[tuple[str, Regime]]:
    for dtype in DTYPES:
        for _ in range(2):
            yield dtype, _of_any_size(dtype)


def _of_any_size(dtype: str) -> Regime:
    info = np.finfo(dtype)

    def regime(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        size = np.ldexp(1.0, rng.integers(info.minexp, info.maxexp, shape))
        size = np.where(rng.random(shape) < 0.4, float(info.max), size)
        return np.asarray(rng.choice([-1.0, -1.0, 0.0, 1.0, 1.0], shape) * size)

    return regime


def _as(dtype: str, given: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    with np.errstate(over="ignore"):  # what a case makes of its inputs may be larger than they
        cast = {k: x.astype(dtype) if x.dtype.kind == "f" else x for k, x in given.items()}
    if "cotangent" in cast:
        cast["cotangent"] = _of_any_size(dtype)(rng, cast["cotangent"].shape).astype(dtype)
    return cast


def _silent(log: Log, where: str, run: Any) -> None:
    said = ""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        said = str(error)
    except REFUSALS:
        pass
    log.require(not said, f"{where}: {said}")

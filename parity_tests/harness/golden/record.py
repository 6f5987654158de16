"""Making the vectors from the cases of the suite, with the torch that is installed.

There is no second list: a technique is what discovery finds, and each kind of case says here which
few of its computations are kept. A vector is written only if NumPy alone, from what stands in the
file, computes to the bit what the case computes, and if that is inside the budget.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from numpy_impl.module import Parameter
from numpy_impl.optimization import SGD
from numpy_impl.random import Generator
from parity_tests.harness import discovery
from parity_tests.harness.bridge import to_numpy
from parity_tests.harness.budget import JITTERS, Deviation, Known, Run, jitter, measure
from parity_tests.harness.case import Case, Settings
from parity_tests.harness.function_case import FunctionParity
from parity_tests.harness.golden import blueprint
from parity_tests.harness.golden.play import bits, play
from parity_tests.harness.golden.vectors import DTYPES, Golden, Vector
from parity_tests.harness.init_case import InitializerParity
from parity_tests.harness.inputs import Array, Config, Shape, brief, same
from parity_tests.harness.module_case import ModuleParity
from parity_tests.harness.optimizer_case import LATE, Course, OptimizerParity
from parity_tests.harness.rounding import rounded_layers
from parity_tests.harness.scheduler_case import BY_HAND, EPOCHS, SchedulerParity

SETTINGS = Settings()
COURSE = Course(10, frozenset(LATE), rates={5: 0.3}, shapes=((3, 4), (4,), ()))
REGIMES = "large", "offset", "ties"
"""Which kinds of numbers beside ordinary ones, where a case has them."""
LARGEST = 900
"""How many numbers a vector may have."""
STREAM = "random/Generator"


@dataclass(frozen=True)
class Source:
    """One computation of a case: how either side runs it, and how it may be written down."""

    what: str
    given: Mapping[str, Array]
    theirs: Run
    ours: Callable[[], Mapping[str, Array]]
    blueprints: Callable[[], Iterator[dict[str, Any]]]
    measured: Callable[[], Known]
    by_step: bool = False


def record(tell: Callable[[str], None] = lambda name: None) -> Golden:
    """Vectors of every technique; `tell` hears the name of each."""
    vectors, left_out = [], {}
    for technique in discovery.discover(settings=SETTINGS):
        name = f"{technique.chapter}/{technique.name}"
        tell(name)
        if technique.problem:
            raise RuntimeError(f"{name} cannot be loaded: {technique.problem}")
        made, why = _vectors(technique, name)
        vectors += made
        if not made:
            left_out[name] = why
    tell(STREAM)
    vectors += _stream()
    return Golden(_made(), vectors, left_out)


def torch_sides(case: str) -> dict[str, Run]:
    """The runs in torch of a case, by what they are of; none where the case is no longer there."""
    if case == STREAM:
        return {f"seed {plan['seed']}": partial(_draws, plan) for plan in _streams()}
    module, name = case.split(":")
    with contextlib.suppress(ImportError, StopIteration):
        found = next(c for c in discovery.cases_of(module) if c.__name__ == name)
        return {source.what: source.theirs for source in _sources(found())}
    return {}


def _made() -> dict[str, str]:
    return {
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _vectors(technique: Any, name: str) -> tuple[list[Vector], str]:
    case = next(c for c in discovery.cases_of(technique.module) if c.__name__ == technique.case)
    made, why = [], "its checks are written by hand, around both sides"
    for source in _sources(case()):
        known = source.measured()
        if sum(x.size for x in [*source.given.values(), *known.truth.values()]) > LARGEST:
            why = "its arrays are too large for a small file"
            continue
        if _ill(source, known):
            continue
        try:
            made.append(_vector(technique, source, known))
        except blueprint.Unwritable as error:
            why = f"what it is built of has no name of its own: {error}"
    return made, why


def _ill(source: Source, known: Known) -> bool:
    """Whether the numbers are too ill-conditioned, or of a dtype that the file does not hold."""
    expected = {k: np.asarray(x) for k, x in known.truth.items()}
    if any(str(x.dtype) not in DTYPES for x in [*expected.values(), *source.given.values()]):
        return True
    held = Vector("", "", "", "", {}, {}, expected, _moved(known, source), source.by_step)
    return any("ill-conditioned" in d.problem for d in held.hold(expected))


def _moved(known: Known, source: Source) -> dict[str, list[float]]:
    """How far noise moves each tensor, to two digits: the largest, of all of it or by step."""
    moved = {}
    for k, draws in known.noise.items():
        rows = len(draws[0]) if source.by_step and np.ndim(draws[0]) else 1
        found = np.stack([np.ravel(x) for x in draws])
        by_row = found.reshape(len(found), rows, -1) if found.size else np.zeros((1, rows, 1))
        moved[k] = [float(f"{x:.2g}") for x in by_row.max(axis=(0, 2))]
    return moved


def _vector(technique: Any, source: Source, known: Known) -> Vector:
    expected = {k: np.asarray(x) for k, x in known.truth.items()}
    with np.errstate(all="ignore"):
        ours = source.ours()
    why = "no way to write it down"
    for plan in source.blueprints():
        vector = Vector(
            technique.chapter,
            technique.name,
            f"{technique.module}:{technique.case}",
            source.what,
            plan,
            dict(source.given),
            expected,
            _moved(known, source),
            source.by_step,
        )
        try:
            found = play(vector)
        except Exception as error:  # arguments that are not what the class keeps
            why = f"{type(error).__name__}: {error}"
            continue
        if found.keys() == ours.keys() and all(same(found[k], ours[k]) for k in ours):
            _agrees(vector, vector.hold(found))
            return vector
        why = "NumPy alone computes something else"
    raise blueprint.Unwritable(why)


def _agrees(vector: Vector, deviations: list[Deviation]) -> None:
    failed = [d for d in deviations if not d.passed]
    if failed:
        raise RuntimeError(f"{vector.technique}, {vector.what}: the two sides differ: {failed[0]}")


# ---- what is kept of each kind of case -----------------------------------------------------------


def _sources(case: Case) -> Iterator[Source]:
    for kind, sources in KINDS.items():
        if isinstance(case, kind):
            yield from sources(case)


def _few(case: Case, n: int = 2) -> list[Config]:
    """The first configuration, the last, and what lies evenly between."""
    configs = list(case.configs)  # type: ignore[attr-defined]
    return [configs[i] for i in sorted({k * (len(configs) - 1) // (n - 1) for k in range(n)})]


def _fitting(case: Any, config: Config) -> Shape:
    """The last shape, which meets every regime; an earlier one where that is too large here."""
    fit = [s for s in case.inputs if 0 < math.prod(s.of(config)) <= LARGEST // 4]
    last = list(case.inputs)[-1]
    return last if last in fit or not fit else fit[-1]


def _numbers(case: Any, last: bool) -> list[str]:
    """Ordinary numbers; with the last configuration others too."""
    plain = "unit" if "unit" in case.regimes else next(iter(case.regimes))
    return [plain, *[r for r in REGIMES if last and r in case.regimes][:1]]


def _modules(case: ModuleParity) -> Iterator[Source]:
    configs = _few(case)
    for config in configs:
        shape = _fitting(case, config)
        for regime in _numbers(case, config is configs[-1]):
            for mode in case.modes if _has_modes(case, config) else case.modes[:1]:
                what = f"{_text(config)}|{shape}|{regime}|{mode}"
                rng = case.rng(SETTINGS, f"golden {what}")
                given = case.given(rng, shape.of(config), case.regimes[regime], config)
                run: dict[str, Any] = {"config": config, "mode": mode, "seed": 5}
                theirs = partial(case.run_torch, **run)
                nearby = partial(_rounded, theirs) if case.network else None
                yield Source(
                    what,
                    given,
                    theirs,
                    partial(case.run_numpy, given, **run),
                    partial(_module_plans, case, config, mode),
                    partial(measure, theirs, given, 0, JITTERS, nearby),
                )


def _has_modes(case: ModuleParity, config: Config) -> bool:
    """Whether train and eval are two things to what is built here."""
    modules = list(case.build_torch(config, torch.float64).modules())
    return any(list(m.buffers(recurse=False)) or "p" in vars(m) for m in modules)


def _rounded(theirs: Run, given: Mapping[str, Array]) -> Mapping[str, Array]:
    with rounded_layers(np.random.default_rng(0)):
        return theirs(given)


def _module_plans(case: ModuleParity, config: Config, mode: str) -> Iterator[dict[str, Any]]:
    rest = {"kind": "module", "mode": mode, "seed": 5}
    with contextlib.suppress(blueprint.Unwritable):
        new = blueprint.name_of(type(case).numpy)
        for more in ({}, {"dtype": "float64"}):
            kwargs = {k: blueprint.written(v) for k, v in {**config, **more}.items()}
            yield {**rest, "module": {"new": new, "kwargs": kwargs}}
    yield {**rest, "module": blueprint.written(case.build(config, "float64"))}


def _functions(case: FunctionParity) -> Iterator[Source]:
    configs = _few(case)
    for config in configs:
        shape = _fitting(case, config)
        for regime in _numbers(case, config is configs[-1]):
            what = f"{_text(config)}|{shape}|{regime}"
            rng = case.rng(SETTINGS, f"golden {what}")
            given = case.given(rng, shape.of(config), case.regimes[regime], config)
            theirs = partial(case.run_torch, config=config, seed=5)
            yield Source(
                what,
                given,
                theirs,
                partial(case.run_numpy, given, config, 5),
                partial(_function_plans, case, config),
                partial(measure, theirs, given),
            )


def _function_plans(case: FunctionParity, config: Config) -> Iterator[dict[str, Any]]:
    backward = type(case).backward
    yield {
        "kind": "function",
        "seed": 5,
        "function": blueprint.name_of(type(case).numpy),
        "backward": blueprint.name_of(backward) if backward else None,
        "config": blueprint.written(config),
    }


def _initializers(case: InitializerParity) -> Iterator[Source]:
    for config in _few(case, 3):
        for shape in case.shapes[:2]:
            what = f"{_text(config)}|{shape}"
            rng = case.rng(SETTINGS, f"golden {what}")
            noise = {"normal": rng.standard_normal(64), "uniform": rng.random(64)}
            theirs = partial(_filled, case, config, shape)
            plan = {"kind": "initializer", "seed": 5, "shape": list(shape)}
            yield Source(
                f"{what}|noise handed over",
                noise,
                theirs,
                partial(_fill, case, config, shape, noise),
                partial(_initializer_plans, case, config, plan),
                partial(measure, theirs, noise),
            )
        if case.draws == "uniform":
            yield _from_a_seed(case, config, (6, 7), rng)


def _from_a_seed(case: Any, config: Config, shape: tuple[int, ...], rng: Any) -> Source:
    """Real draws; what rounding moves is seen by moving by one ulp what torch draws."""

    def theirs(given: Mapping[str, Array]) -> dict[str, Array]:
        generator = torch.Generator().manual_seed(5)
        y = torch.empty(shape, dtype=torch.float64)
        return {"forward values": to_numpy(type(case).torch(y, **config, generator=generator))}

    def ours() -> dict[str, Array]:
        generator = Generator().manual_seed(5)
        return {"forward values": type(case).numpy(np.empty(shape), **config, generator=generator)}

    def measured() -> Known:
        drawn = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        given = {"uniform": to_numpy(drawn), "normal": np.zeros(1)}
        near, far = (_filled(case, config, shape, g) for g in (given, jitter(given, rng)))
        moved = {k: [np.abs(near[k] - far[k])] for k in near}
        return Known(theirs({}), moved)

    plan = {"kind": "initializer", "seed": 5, "shape": list(shape)}
    what = f"{_text(config)}|{shape}|from a seed"
    return Source(what, {}, theirs, ours, partial(_initializer_plans, case, config, plan), measured)


def _fill(case: Any, config: Config, shape: tuple[int, ...], noise: Any) -> dict[str, Array]:
    return {"forward values": case.fill(np.full(shape, np.nan), config, noise, 5)}


def _filled(case: Any, config: Config, shape: tuple[int, ...], noise: Any) -> dict[str, Array]:
    values = torch.full(shape, np.nan, dtype=torch.float64)
    return {"forward values": to_numpy(case.fill_torch(values, config, noise, 5))}


def _initializer_plans(case: Any, config: Config, plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    name = blueprint.name_of(type(case).numpy)
    yield {**plan, "function": name, "config": blueprint.written(config)}


def _optimizers(case: OptimizerParity) -> Iterator[Source]:
    for config in _few(case, 3):
        what = f"{_text(config)}|{COURSE.steps} steps"
        given = case._given(case.rng(SETTINGS, f"golden {what}"), COURSE)
        kept = {k: x for k, x in given.items() if not k.startswith("rounding")}
        rounding = {k: x for k, x in given.items() if k.startswith("rounding")}

        def theirs(g: Any, config: Any = config, rounding: Any = rounding) -> Any:
            return case.run_torch({**g, **rounding}, config, COURSE)

        yield Source(
            what,
            kept,
            theirs,
            partial(case.run_numpy, given, config, COURSE),
            partial(_optimizer_plans, case, config),
            partial(case._reference, given, config, COURSE),
            by_step=True,
        )


def _optimizer_plans(case: OptimizerParity, config: Config) -> Iterator[dict[str, Any]]:
    yield {
        "kind": "optimizer",
        "optimizer": blueprint.name_of(type(case).numpy),
        "config": blueprint.written(config),
        "missing": sorted([step, i] for step, i in COURSE.missing),
        "rates": {str(step): factor for step, factor in COURSE.rates.items()},
    }


def _schedules(case: SchedulerParity) -> Iterator[Source]:
    groups = f"{max(case.groups)} group{'s' * (max(case.groups) > 1)}"
    for config in case.configs:
        for course in (groups, "changed by hand"):
            what = f"{_text(config)}|{course}"
            rng = case.rng(SETTINGS, f"golden {what}")
            numbers = ("base", "by hand")
            given = {k: rng.uniform(0.01, 1, max(case.groups)) for k in numbers}
            theirs = partial(case.run, config=config, what=course, side="torch")
            yield Source(
                what,
                given,
                theirs,
                partial(case.run, given, config, course, "NumPy"),
                partial(_schedule_plans, case, config, course, given),
                partial(measure, theirs, given, 0, 4),
                by_step=True,
            )


def _schedule_plans(
    case: SchedulerParity, config: Config, course: str, given: Mapping[str, Array]
) -> Iterator[dict[str, Any]]:
    groups = [{"params": [Parameter(np.zeros(2))], "lr": float(r)} for r in given["base"]]
    rest = {
        "kind": "schedule",
        "epochs": EPOCHS,
        "by hand": list(BY_HAND) if course == "changed by hand" else [],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a chain of schedules warns as torch's does
        schedule = case.build("NumPy", SGD(groups), config)
    yield {**rest, "schedule": blueprint.written(schedule)}


KINDS: Mapping[type[Case], Callable[[Any], Iterator[Source]]] = {
    ModuleParity: _modules,
    FunctionParity: _functions,
    InitializerParity: _initializers,
    OptimizerParity: _optimizers,
    SchedulerParity: _schedules,
}


# ---- the random stream ---------------------------------------------------------------------------

DRAWS: dict[str, tuple[str, list[Any], Callable[[torch.Generator], torch.Tensor]]] = {
    "float32": ("rand", [[5]], lambda g: torch.rand(5, generator=g)),
    "float64": (
        "rand",
        [[5], "float64"],
        lambda g: torch.rand(5, generator=g, dtype=torch.float64),
    ),
    "mask": (
        "bernoulli",
        [0.3, [12]],
        lambda g: torch.empty(12).bernoulli_(0.3, generator=g).bool(),
    ),
    "whole": ("randint", [-5, 1000, [6]], lambda g: torch.randint(-5, 1000, (6,), generator=g)),
    "order": ("randperm", [17], lambda g: torch.randperm(17, generator=g)),
    "uniform": (
        "uniform",
        [-1.0, 3.0, [5], "float64"],
        lambda g: torch.empty(5, dtype=torch.float64).uniform_(-1, 3, generator=g),
    ),
    "normal": (
        "normal",
        [0.5, 2.0, [17], "float64"],
        lambda g: torch.empty(17, dtype=torch.float64).normal_(0.5, 2, generator=g),
    ),
}
"""What equals torch's from one seed: how we draw it, and how torch does."""
ROUNDED = "uniform", "normal"
"""Which of them a compiler or a library of another machine may round otherwise."""


def _draws(plan: Mapping[str, Any], given: Mapping[str, Array]) -> dict[str, Array]:
    generator = torch.Generator().manual_seed(plan["seed"])
    found = {}
    for i, (name, _, _, exact) in enumerate(plan["draws"]):
        x = to_numpy(DRAWS[name][-1](generator))
        found[f"draw {i} {name}"] = bits(x) if exact else x
    return found


def _streams() -> list[dict[str, Any]]:
    draws = [
        [name, method, args, name not in ROUNDED] for name, (method, args, _) in DRAWS.items()
    ] * 2
    return [{"kind": "stream", "seed": s, "draws": draws} for s in (0, 7, 2**32 + 7, -1)]


def _stream() -> list[Vector]:
    made = []
    for plan in _streams():
        what, drawn = f"seed {plan['seed']}", _draws(plan, {})
        moved = {k: [0.0] for k in drawn}
        vector = Vector("random", "Generator", STREAM, what, plan, {}, drawn, moved)
        _agrees(vector, vector.hold(play(vector)))
        made.append(vector)
    return made


def _text(config: Config) -> str:
    return ",".join(f"{k}={brief(v)}" for k, v in config.items())

"""Optimizers under parity, as trajectories: parameters and state at every step.

class TestSGD(OptimizerParity):
    numpy, torch = ours.SGD, theirs.SGD
    configs = [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}]

What a step may differ by is measured on the reference, as everywhere, with start values and
gradients one ulp off; and since every step rounds what it stores, parameters and state are put one
ulp off after every step, too. Else a parameter that has just come near 0 would be held to the
precision of its new size, though it still carries the rounding of its old one.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from numpy_impl.module import Parameter
from numpy_impl.optimization import lr_scheduler
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import Arrays, Known, hold, jitter
from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.inputs import LAYOUTS, Array, Config, brief, dtype_of, same, stacked
from parity_tests.harness.limits import called_alike
from parity_tests.harness.refusal import REFUSALS, Refusal, raises, refused, says
from parity_tests.harness.stand_ins import Place

SHAPES = (3, 4), (4,), (), (1, 5), (0, 3)
SCALES = 1, 1, 1e-7, 1e-7, 1e3, 1, 0, 1e-2, 1e-9, 1e-3
"""What gradients are multiplied by from step to step; parameters start at different places."""
SIZES = 1, 1, 1, 1e-9, 1
"""And from parameter to parameter: the fourth only ever sees gradients far below any eps."""


@dataclass(frozen=True)
class Course:
    """What happens on the way, beside the gradients.

    Args:
        steps: how many.
        missing: (step, parameter) pairs without a gradient.
        rates: step to the factor that every group's lr is multiplied by, by hand, before it.
        groups: options of a second group, of all parameters after the second; none without.
        shapes: of the parameters.
        schedule: the name and arguments of a schedule that is stepped after every step.
    """

    steps: int
    missing: frozenset[tuple[int, int]] = frozenset()
    rates: Mapping[int, float] = field(default_factory=dict)
    groups: Config | None = None
    shapes: tuple[tuple[int, ...], ...] = SHAPES
    schedule: tuple[str, Config] | None = None


LATE = {(0, 1), (1, 1), (2, 1), (4, 0), (7, 2), (8, 2), (8, 3)}  # the second starts at step 3
LONG = Course(
    200,
    frozenset(LATE | {(s, s % 4) for s in range(20, 200, 9)}),
    rates={5: 0.3, 9: 2.0, 120: 0.5},
    shapes=SHAPES[:4],
)
SHORT = Course(
    10,
    frozenset(LATE),
    groups={"lr": 0.03, "weight_decay": 0.2},
    schedule=("ExponentialLR", {"gamma": 0.8}),
)
TRIAL = Course(24, LONG.missing, LONG.rates, shapes=LONG.shapes)
"""Where mistakes are tried: the beginning of the long course."""


JITTERED = 8
"""How many runs of the reference one ulp off; they cost one, side by side."""


class OptimizerParity(Case):
    """A NumPy optimizer beside a torch optimizer, on the same gradients step by step.

    Class attributes:
        configs: constructor arguments, one dict a configuration.
        refusals: arguments that the constructor must refuse, in addition to what all must.
        rewrites: one of them is what the mistakes are made from, so that what is caught is the slip
            and not the stand-in.
    """

    configs: ClassVar[Sequence[Config]] = ({},)
    refusals: ClassVar[Sequence[Refusal]] = ()

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Trajectories, the way over in mid-run, manners, mistakes."""
        configs = settings.some(self.configs)
        for config in configs:
            for course in (SHORT,) if settings.quick else (LONG, SHORT):
                for dtype in settings.dtypes if course is SHORT else ("float64",):
                    name = f"agrees[{_text(config)}|{course.steps} steps|{dtype}]"
                    yield Check(name, self._agrees(settings, name, config, course, dtype))
        known: dict[str, Known] = {}  # torch's trajectories serve every way over
        for config in configs:
            for way in ("NumPy to torch", "torch to NumPy", "NumPy to NumPy"):
                name = f"carried on[{_text(config)}|{way}]"
                yield Check(name, self._bind(settings, "way", self._carried_on, config, way, known))
        derived: list[tuple[str, Callable[..., None]]] = [
            ("memory layouts", self._layouts),
            ("state_dict and repr", self._frame),
            ("a refused state changes nothing", self._refused_state),
            ("manners of a step", self._manners),
            ("allocates nothing", self._allocates),
            ("refusals", self._refusals),
            ("called alike", partial(called_alike, self)),
        ]
        for name, method in derived:
            yield Check(name, self._bind(settings, name, method, configs[-1]))
        yield from self.trials(settings)

    def _bind(
        self, settings: Settings, name: str, method: Callable[..., None], *args: Any
    ) -> Callable[[Log], None]:
        return lambda log: method(log, self.rng(settings, name), *args)

    def _agrees(
        self, settings: Settings, name: str, config: Config, course: Course, dtype: str
    ) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            given = _cast(self._given(self.rng(settings, name), course), dtype)
            known = self._reference(given, config, course)
            log.compare(hold(self.run_numpy(given, config, course), known, dtype, True), "course")

        return run

    def places(self, settings: Settings) -> Iterator[Place]:
        """The beginning of the long course, with every configuration."""
        for config in self.configs:
            yield _Trial(self, self._given(self.rng(settings, "trial"), TRIAL), config)

    def beside_torch(self, settings: Settings, stand_in: Any) -> Iterator[Config]:
        """The class with every configuration, the last ones first."""
        for config in reversed(self.configs):
            yield {"mine": stand_in, "theirs": type(self).torch, "kwargs": config}

    # ---- one run ----------------------------------------------------------------------------

    def _given(self, rng: np.random.Generator, course: Course) -> dict[str, Array]:
        """Start values; for each parameter the gradients of all steps, and ones to round by."""
        given = {
            f"start {i}": np.asarray(rng.standard_normal(s)) for i, s in enumerate(course.shapes)
        }
        for i, shape in enumerate(course.shapes):
            g = rng.standard_normal((course.steps, *shape))
            g *= rng.random(g.shape) < 0.85  # exact zeros
            scale = np.array([SCALES[(s + 3 * i) % len(SCALES)] for s in range(course.steps)])
            given[f"gradient {i}"] = g * SIZES[i] * scale.reshape(-1, *[1] * len(shape))
            given[f"rounding {i}"] = np.ones(g.shape)
        return given

    def run_numpy(self, given: Arrays, config: Config, course: Course) -> Arrays:
        """Every parameter, state and rate at every step, stacked over steps, in NumPy."""
        return self._run(given, config, course, ["NumPy"] * course.steps)

    def run_torch(self, given: Arrays, config: Config, course: Course) -> Arrays:
        """The same in torch."""
        return self._run(given, config, course, ["torch"] * course.steps)

    def _reference(self, given: Arrays, config: Config, course: Course) -> Known:
        """The truth: torch in float64. The noise: torch one ulp off, in the dtype of given.

        An optimizer works element by element, so the runs one ulp off are one run of wider
        parameters.
        """
        rng = np.random.default_rng(0)
        moved = [jitter(given, rng) for _ in range(JITTERED)]
        wide = {k: np.stack([m[k] for m in moved], axis=_batch_axis(k)) for k in given}
        truth = self.run_torch(_cast(given, "float64"), config, course)
        near = self.run_torch(wide, config, course)
        narrow = dtype_of(given) != np.float64
        exact = self.run_torch(_cast(wide, "float64"), config, course) if narrow else {}
        noise = {}
        for k, x in truth.items():
            if near[k].ndim == x.ndim:  # the rate and the step count are of the whole run
                noise[k] = [_gap(near[k], x)]
            else:
                base = (
                    np.moveaxis(exact[k], 1, 0)
                    if narrow
                    else np.broadcast_to(x, (JITTERED, *x.shape))
                )
                noise[k] = [
                    _gap(a, b) for a, b in zip(np.moveaxis(near[k], 1, 0), base, strict=True)
                ]
        return Known(truth, noise)

    def build(self, side: str, params: Sequence[Any], config: Config, course: Course) -> Any:
        """An optimizer of that side, and the schedule of the course or None."""
        groups: Any = list(params)
        if course.groups is not None:
            groups = [{"params": groups[:2]}, {"params": groups[2:], **course.groups}]
        schedules: Any = lr_scheduler if side == "NumPy" else torch.optim.lr_scheduler
        optimizer = (type(self).numpy if side == "NumPy" else type(self).torch)(groups, **config)
        if course.schedule is None:
            return optimizer, None
        name, arguments = course.schedule
        return optimizer, getattr(schedules, name)(optimizer, **arguments)

    def _run(self, given: Arrays, config: Config, course: Course, sides: Sequence[str]) -> Arrays:
        """One run, each step on the side named; where that changes, everything is carried over."""
        start = [x for k, x in given.items() if k.startswith("start")]
        grads = [x for k, x in given.items() if k.startswith("gradient")]
        rounding = [x for k, x in given.items() if k.startswith("rounding")]
        jittered = any((x != 1).any() for x in rounding)
        side = sides[0]
        params = [_parameter(side, x) for x in start]
        optimizer, schedule = self.build(side, params, config, course)
        steps: list[dict[str, Array]] = []
        for step in range(course.steps):
            if step and sides[step] != sides[step - 1]:
                carry = to_torch if sides[step] == "torch" else copy.deepcopy
                saved = carry(optimizer.state_dict())
                kept = None if schedule is None else schedule.state_dict()
                side = sides[step].removeprefix("another ")
                params = [_parameter(side, np.asarray(_data(p)).copy()) for p in params]
                optimizer, schedule = self.build(side, params, config, course)
                if schedule is not None:
                    schedule.load_state_dict(kept)
                optimizer.load_state_dict(saved)
            for group in optimizer.param_groups:
                group["lr"] *= course.rates.get(step, 1)
            for i, (p, g) in enumerate(zip(params, grads, strict=True)):
                _set_grad(p, None if (step, i) in course.missing else g[step])
            optimizer.step()
            if schedule is not None:
                schedule.step()
            if jittered:
                _round(optimizer, params, [r[step] for r in rounding])
            steps.append(self._record(optimizer, params))
        return stacked(steps)

    def _record(self, optimizer: Any, params: Sequence[Any]) -> dict[str, Array]:
        found = {}
        for i, p in enumerate(params):
            for name, value in optimizer.state.get(p, {}).items():
                value = np.asarray(value).copy()
                if name == "step":  # float32 on both sides, whatever the parameters are
                    assert value.dtype == np.float32 and value.shape == ()
                    value = value.astype(np.int64)
                found[f"step {name} {i}"] = value
            found[f"step parameter {i}"] = _data(p).copy()
        dtype = _data(params[0]).dtype
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        return found | {"step lr": np.array(rates, dtype)}

    # ---- what holds for any optimizer ---------------------------------------------------------

    def _carried_on(
        self,
        log: Log,
        rng: np.random.Generator,
        config: Config,
        way: str,
        known: dict[str, Known],
    ) -> None:
        """Saved in mid-run, loaded on the other side, carried on there: as if nothing happened."""
        course = replace(SHORT, schedule=("LambdaLR", {"lr_lambda": _inverse}))
        first, second = way.split(" to ")
        second = f"another {second}" if first == second else second
        given = self._given(rng, course)
        key = f"carried {_text(config)}"
        if key not in known:
            known[key] = self._reference(given, config, course)
        found = self._run(given, config, course, [first] * 5 + [second] * 5)
        log.compare(hold(found, known[key], "float64", True), way)

    def _layouts(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """However parameter and gradient lie in memory, small or in blocks; neither is replaced."""
        for shape in ((3, 5), (70, 80), (301, 300)):
            start, grads = rng.standard_normal(shape), rng.standard_normal((2, *shape))
            theirs = _parameter("torch", start)
            optimizer = type(self).torch([theirs], **config)
            for g in grads:
                _set_grad(theirs, g)
                optimizer.step()
            wanted = self._record(optimizer, [theirs])
            for layout, arrange in LAYOUTS.items():
                if layout in ("readonly", "broadcast"):
                    continue
                p = Parameter(start)
                p.data = data = arrange(start.copy())
                optimizer = type(self).numpy([p, Parameter(np.ones(2))], **config)
                for g in grads:
                    g = arrange(g.copy())
                    p.grad, before = g, g.copy()
                    g.flags.writeable = False
                    optimizer.step()
                    log.require(same(g, before), f"{layout} {shape}: the gradient was changed")
                log.require(p.data is data, f"{layout} {shape}: p.data was replaced")
                found = self._record(optimizer, [p])
                log.require(found.keys() == wanted.keys(), f"{layout} {shape}: {list(found)}")
                for k, x in found.items():
                    near = np.allclose(x, wanted[k], rtol=1e-13, atol=1e-13)
                    log.require(near, f"{layout} {shape}: {k} differs")

    def _frame(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """state_dict and repr are torch's, with names too; copies and pickles go on alike."""
        for named in (False, True):
            built = {}
            for side in ("NumPy", "torch"):
                params: list[Any] = [_parameter(side, np.ones(s)) for s in SHAPES]
                listed = [(f"p{i}", p) for i, p in enumerate(params)] if named else params
                optimizer, _ = self.build(side, listed, config, SHORT)
                for p in params[:3]:
                    _set_grad(p, np.full(_data(p).shape, 0.5))
                optimizer.step()
                built[side] = optimizer
            ours, theirs = built["NumPy"], built["torch"]
            log.require(repr(ours) == repr(theirs), f"repr {ours!r}\n  torch {theirs!r}")
            a, b = ours.state_dict(), theirs.state_dict()
            log.require(list(a) == list(b), f"keys {list(a)}, torch {list(b)}")
            log.require(
                a["param_groups"] == b["param_groups"],
                f"groups {a['param_groups']}\n  torch {b['param_groups']}",
            )
            kinds = [
                {n: {k: (x.shape, str(x.dtype)) for k, x in s.items()} for n, s in d.items()}
                for d in (a["state"], to_numpy(b["state"]))
            ]
            log.require(kinds[0] == kinds[1], f"state {kinds[0]}\n  torch {kinds[1]}")
        for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            for optimizer in (ours, copied):
                for group in optimizer.param_groups:
                    for p in group["params"]:
                        p.grad = np.ones(p.shape)
            before = [_data(p).copy() for g in ours.param_groups for p in g["params"]]
            copied.step()
            after = [_data(p) for g in ours.param_groups for p in g["params"]]
            log.require(all(map(same, before, after)), "a copy moved the original's parameters")
            log.require(repr(copied) == repr(ours), "a copy has other options")

    def _refused_state(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Loading checks all before it changes anything; what it loads it copies and casts."""
        p, q = Parameter(rng.standard_normal((2, 3))), Parameter(rng.standard_normal(4))
        optimizer = type(self).numpy([p, q], **config)
        p.grad, q.grad = np.ones((2, 3)), np.ones(4)
        optimizer.step()
        saved = copy.deepcopy(optimizer.state_dict())
        group = saved["param_groups"][0]
        bad: list[tuple[Any, str]] = [
            (saved | {"param_groups": [group, {**group, "params": [2]}]}, "number of parameter"),
            (saved | {"param_groups": [{**group, "params": [0]}]}, "size"),
        ]
        for name, value in saved["state"].get(1, {}).items():
            if name != "step":
                state = copy.deepcopy(saved["state"])
                state[0] = {k: v + 1 for k, v in state[0].items()}
                state[1][name] = np.ones((9, 9), value.dtype)
                bad.append((saved | {"state": state}, r"\(9, 9\)"))
        for state_dict, pattern in bad:
            said = refused(lambda d=state_dict: optimizer.load_state_dict(d))  # type: ignore[misc]
            log.require(said is not None and says(said, pattern), f"said {said!r}")
        now = optimizer.state_dict()
        log.require(_equal(now, saved), "a refused state changed something")
        narrow = type(self).numpy(
            [Parameter(np.ones((2, 3), "f")), Parameter(np.ones(4, "f"))], **config
        )
        narrow.load_state_dict(saved)
        for state in narrow.state.values():
            dtypes = {str(x.dtype) for x in state.values()}
            log.require(dtypes <= {"float32"}, f"loading kept {dtypes}")
        optimizer.load_state_dict(saved)
        optimizer.step()
        log.require(not _equal(optimizer.state_dict(), now) or not now["state"], "nothing moved")
        log.require(_equal(saved["param_groups"], now["param_groups"]), "groups were changed")
        again = type(self).numpy([Parameter(np.ones((2, 3))), Parameter(np.ones(4))], **config)
        again.load_state_dict(saved)
        kept = copy.deepcopy(again.state_dict())
        for state in saved["state"].values():
            for value in state.values():
                value += 1
        log.require(_equal(again.state_dict(), kept), "the loaded state shares memory")

    def _manners(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Closures, late groups, frozen parameters, zero_grad, gradients of a wrong kind."""
        for side in ("NumPy", "torch"):
            p, q = (_parameter(side, np.ones(3)) for _ in range(2))
            optimizer, _ = self.build(side, [p], config, Course(1))
            _set_grad(p, np.ones(3))
            optimizer.add_param_group({"params": q, "lr": 0.5})
            _set_grad(q, np.ones(3))
            q.requires_grad = False
            calls: list[int] = []
            loss = optimizer.step(lambda calls=calls: calls.append(1) or 7.0)
            log.require(loss == 7.0 and calls == [1], f"{side}: step(closure) returned {loss!r}")
            moved = [not same(_data(x), np.ones(3)) for x in (p, q)]
            log.require(moved == [True, True], f"{side}: moved {moved}")
            log.require(optimizer.step() is None, f"{side}: step() returned something")
            optimizer.zero_grad(set_to_none=False)
            log.require(not np.any(np.asarray(p.grad)), f"{side}: zero_grad left something")
            optimizer.zero_grad()
            log.require(p.grad is None and q.grad is None, f"{side}: zero_grad left gradients")
            kept = _data(p).copy()
            optimizer.step()
            log.require(same(kept, _data(p)), f"{side}: moved without a gradient")
        a, b = Parameter(np.ones(3)), Parameter(np.ones(2))
        optimizer = type(self).numpy([a, b], **config)
        for wrong in (np.ones(3), np.ones(2, np.float32)):
            a.grad, b.grad = np.ones(3), wrong
            log.require(
                raises(optimizer.step, error=RuntimeError), f"took {wrong.dtype}{wrong.shape}"
            )
            log.require(same(a.data, np.ones(3)) and not optimizer.state, "refused, yet it moved")
        a.grad, b.grad = np.ones(3), None
        optimizer.step()
        if optimizer.state:
            a.data, a.grad, kept = (
                a.data.astype("f"),
                np.ones(3, "f"),
                copy.deepcopy(optimizer.state[a]),
            )
            log.require(
                raises(optimizer.step, error=RuntimeError), "float64 state, float32 parameter"
            )
            log.require(_equal(kept, optimizer.state[a]), "refused, yet a step was counted")

    def _allocates(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """In steady state a step allocates no arrays, whatever the options."""
        for each in self.configs:
            self._allocates_nothing(log, rng, each)

    def _allocates_nothing(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        params = [Parameter(rng.standard_normal(s)) for s in ((400, 500), (30, 40), (30,))]
        optimizer = type(self).numpy(params, **config)
        for p in params:
            p.grad = np.ones(p.shape)
        optimizer.step()
        optimizer.step()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        optimizer.step()
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        log.require(peak < 16_000, f"a step allocated {peak} bytes beside {400 * 500 * 8} of data")

    def _refusals(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Bad arguments raise on both sides and say why."""
        p, q = Parameter(np.ones(2)), Parameter(np.ones(2))
        cases: list[tuple[Any, Config, str, bool]] = [
            ([], config, "empty parameter list", True),
            (p, config, "iterable", True),
            (p.data, config, "iterable", True),
            ([p.data], config, "optimizer can only optimize", True),
            ([p, 3], config, "optimizer can only optimize", True),
            ([{"params": {p}}], config, "list", True),
            ([{"lr": 0.1}], config, "'params'", True),
            ([p, ("b", q)], config, "names", True),
            ([{"params": [p]}, [q]], config, "dict", True),
            ([{"params": [p]}, {"params": [q, p]}], config, "more than one", True),
            ([{"params": [p]}, {"params": [("q", q)]}], config, "names", True),
            ([p, p], config, "duplicate", False),  # torch only warns, yet
            ([{"params": [p], "lr": -1.0}], config, "Invalid learning rate: -1.0", False),
            ([p], config | {"lr": -1}, "Invalid learning rate: -1", True),
            (
                [p],
                config | {"lr": float("nan")},
                "Invalid learning rate: nan",
                False,
            ),  # SGD takes it
            ([p], config | {"weight_decay": -1}, "Invalid weight_decay value: -1", True),
        ]
        cases += [([p], r.config or config, r.says, r.torch) for r in self.refusals]
        for params, arguments, pattern, torch_too in cases:
            said = refused(lambda a=params, c=arguments: type(self).numpy(a, **c))  # type: ignore[misc]
            what = f"{arguments} {params!r}"
            log.require(said is not None and says(said, pattern), f"{what}: said {said!r}")
            if torch_too:
                made = _in_torch(params, {})
                call = lambda a=made, c=arguments: type(self).torch(a, **c)  # noqa: E731
                log.require(raises(call, error=(*REFUSALS, KeyError)), f"{what}: torch accepts")
        for arguments in self._at_the_edge(config):
            made = _in_torch([p], {})
            ours = refused(lambda c=arguments: type(self).numpy([p], **c))  # type: ignore[misc]
            theirs = refused(lambda a=made, c=arguments: type(self).torch(a, **c))  # type: ignore[misc]
            alike = ours == theirs if not (ours and theirs) else ours.startswith(theirs)
            log.require(alike, f"{arguments}: said {ours!r}, torch {theirs!r}")
        optimizer = type(self).numpy([p], **config)
        for group in ({"params": [p]}, {"params": [q.data]}, {"params": [q], "lr": -1.0}, [q]):
            log.require(raises(optimizer.add_param_group, group), f"took the group {group}")
        log.require(len(optimizer.param_groups) == 1, "a refused group was added")

    def _at_the_edge(self, config: Config) -> Iterator[Config]:
        """Every option below 0, at 0 and at 1, one at a time."""
        for name, taken in inspect.signature(type(self).numpy).parameters.items():
            for value in (-1.0, 0.0, 1.0):
                if isinstance(taken.default, float | int) and not isinstance(taken.default, bool):
                    yield {**config, name: value}
                elif isinstance(taken.default, tuple):
                    for i in range(len(taken.default)):
                        yield {**config, name: (*taken.default[:i], value, *taken.default[i + 1 :])}


class _Trial(Place):
    """One configuration on the course where stand-ins are tried."""

    by_step = True

    def __init__(self, case: OptimizerParity, given: Arrays, config: Config) -> None:
        self.name, self._case, self._given, self._config = _text(config), case, given, config

    def run(self, case: OptimizerParity) -> Arrays:
        return case.run_numpy(self._given, self._config, TRIAL)

    def measure(self) -> Known:
        return self._case._reference(self._given, self._config, TRIAL)


def _inverse(epoch: int) -> float:
    return 1 / (1 + 0.1 * epoch)


def _text(config: Config) -> str:
    return ",".join(f"{k}={brief(v)}" for k, v in config.items())


def _parameter(side: str, x: Array) -> Any:
    return Parameter(x) if side == "NumPy" else torch.nn.Parameter(to_torch(np.asarray(x)))


def _data(p: Any) -> Array:
    return p.data if isinstance(p, Parameter) else p.detach().numpy()


def _set_grad(p: Any, g: Array | None) -> None:
    if g is not None:
        g = np.array(g, _data(p).dtype)
    p.grad = g if g is None or isinstance(p, Parameter) else torch.from_numpy(g)


def _in_torch(tree: Any, made: dict[Parameter, Any]) -> Any:
    """The same arguments with torch's parameters, each made once."""
    if isinstance(tree, Parameter):
        return made.setdefault(tree, torch.nn.Parameter(to_torch(tree.data)))
    if isinstance(tree, dict):
        return {k: _in_torch(v, made) for k, v in tree.items()}
    if isinstance(tree, list | tuple | set):
        return type(tree)(_in_torch(v, made) for v in tree)
    return tree  # an array stays one: torch takes it no more than we do


def _batch_axis(label: str) -> int:
    return 0 if label.startswith("start") else 1  # after the steps


def _cast(given: Arrays, dtype: str) -> dict[str, Array]:
    return {k: x.astype(dtype) for k, x in given.items()}


def _gap(a: Array, b: Array) -> Array:
    """How far apart, place by place; 0 where either is not finite."""
    gap = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
    return np.where(np.isfinite(gap), gap, 0.0)


def _round(optimizer: Any, params: Sequence[Any], by: Sequence[Array]) -> None:
    """Put what is stored one ulp off."""
    for p, r in zip(params, by, strict=True):
        stored = [_data(p)] + [
            np.asarray(x) for k, x in optimizer.state.get(p, {}).items() if k != "step"
        ]
        for x in stored:  # torch's tensors share memory with their arrays
            x *= r


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return same(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b

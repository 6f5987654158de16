"""Modules and losses under parity: one declaration, every check.

class TestBatchNorm1d(ModuleParity):
    numpy, torch = numpy_impl.nn.BatchNorm1d, torch.nn.BatchNorm1d
    configs = grid(num_features=[1, 5], eps=[1e-5, 1e-1], momentum=[0.1, 0.9, None])
    inputs = arrays("N num_features", N=[2, 7])
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

import numpy_impl
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import JITTERS, Deviation, compare
from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.inputs import (
    LAYOUTS,
    REGIMES,
    Array,
    Config,
    Regime,
    Shape,
    brief,
    dtype_of,
    same,
)
from parity_tests.harness.refusal import REFUSALS, Refusal, raises, refused, says


class ModuleParity(Case):
    """A NumPy module beside a torch module: same arguments, same state, same inputs.

    Class attributes:
        configs: constructor arguments, one dict a configuration.
        inputs: shapes of the first input (see `arrays`); `make_inputs` says what else goes in. The
            last one meets every regime and every derived check, so let it be odd and not square.
        regimes: what values the inputs take.
        modes: "train", "eval".
        differentiable: how many of the inputs have a gradient.
        refusals: bad input, in addition to what every module must refuse.
        smooth: regimes in which finite differences referee.
        aliases: True where the output may share memory with the input, as torch's does.
        jitters: how often the reference is run an ulp away to see what rounding does; more where
            rounding either shows or does not, as in the mean of a column of equal numbers.
    """

    configs: ClassVar[Sequence[Config]] = ({},)
    inputs: ClassVar[Sequence[Shape]] = ()
    regimes: ClassVar[Mapping[str, Regime]] = REGIMES
    modes: ClassVar[Sequence[str]] = ("train", "eval")
    differentiable: ClassVar[int] = 1
    refusals: ClassVar[Sequence[Refusal]] = ()
    layouts: ClassVar[Mapping[str, Callable[[Array], Array]]] = LAYOUTS
    aliases: ClassVar[bool] = False
    jitters: ClassVar[int] = JITTERS

    # ---- what a case may override -----------------------------------------------------------

    def make_inputs(
        self, rng: np.random.Generator, shape: tuple[int, ...], regime: Regime, config: Config
    ) -> tuple[Array, ...]:
        """The inputs of one call, float64 (and integers)."""
        return (regime(rng, shape),)

    def make_state(self, rng: np.random.Generator, key: str, like: Array) -> Array:
        """A value for one parameter or buffer, far from the default that could hide a mistake."""
        if like.dtype.kind != "f":
            return np.array(3, dtype=like.dtype)
        if key.endswith("running_var"):
            return rng.uniform(0.5, 2.0, like.shape)
        fan_in = like.shape[1] if like.ndim > 1 else 1
        return rng.standard_normal(like.shape) / np.sqrt(max(fan_in, 1))

    def build(self, config: Config, dtype: str) -> numpy_impl.nn.Module:
        """The NumPy module."""
        return type(self).numpy(**config).to(dtype)

    def build_torch(self, config: Config, dtype: torch.dtype) -> torch.nn.Module:
        """The torch module."""
        return type(self).torch(**config).to(dtype)

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Agreement over everything, then what holds for any module."""
        configs = list(self.configs)
        if settings.quick:
            configs = [configs[0], configs[-1]] if len(configs) > 1 else configs
        for config in configs:
            text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
            for mode in self.modes:
                for dtype in settings.dtypes:
                    name = f"agrees[{text}|{mode}|{dtype}]"
                    yield Check(name, self._agrees(settings, name, config, mode, dtype))
        config = configs[-1]
        derived: list[tuple[str, Callable[[Log, np.random.Generator, Config], None]]] = [
            ("finite differences", self._finite_differences),
            ("memory layouts", self._layouts),
            ("used twice", self._used_twice),
            ("backward needs a forward", self._second_backward),
            ("state_dict both ways", self._state_dict),
            ("repr, modes, dtypes", self._frame),
            ("refusals", self._refusals),
        ]
        for name, method in derived:
            for config in configs if name in ("finite differences", "refusals") else configs[-1:]:
                text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
                yield Check(
                    f"{name}[{text}]", self._bind(settings, f"{name}{text}", method, config)
                )
                if name == "refusals":
                    break
        for name in self.mistakes:
            yield Check(f"catches[{name}]", self._catches(settings, name))

    def _bind(
        self, settings: Settings, name: str, method: Callable[..., None], config: Config
    ) -> Callable[[Log], None]:
        return lambda log: method(log, self.rng(settings, name), config)

    def _agrees(
        self, settings: Settings, name: str, config: Config, mode: str, dtype: str
    ) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            for where, deviations in self._agreements(settings, name, config, mode, dtype):
                log.compare(deviations, where)

        return run

    def _agreements(
        self, settings: Settings, name: str, config: Config, mode: str, dtype: str
    ) -> Iterator[tuple[str, list[Deviation]]]:
        rng = self.rng(settings, name)
        *others, last = self.inputs  # every size with plain numbers, the last with every regime
        others = [] if settings.quick or mode == "eval" else others
        plan = [(shape, "plain", self._plain()) for shape in others]
        plan += [(last, regime_name, regime) for regime_name, regime in self.regimes.items()]
        for shape, regime_name, regime in plan:
            given = self._given(rng, shape.of(config), regime, config)
            seed = int(rng.integers(2**31))
            deviations = compare(
                lambda g, s=seed: self.run_numpy(g, config, mode, s),
                lambda g, s=seed: self.run_torch(g, config, mode, s),
                given,
                dtype,
                seed,
                jitters=self.jitters,
            )
            yield f"{shape} {regime_name}", deviations

    def _catches(self, settings: Settings, name: str) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            right = type(self).numpy
            wrong = type(type(self).__name__, (type(self),), {"numpy": self.mistakes[name]})()
            caught = False
            for config in self.configs:
                for mode in self.modes:
                    key = f"agrees[{config}{mode}]"
                    found = wrong._agreements(settings, key, config, mode, "float64")
                    try:
                        caught = any(not d.passed for _, deviations in found for d in deviations)
                    except REFUSALS + (AssertionError,):
                        caught = True
                    if caught:
                        break
                if caught:
                    break
            assert type(self).numpy is right
            log.require(caught, f"the mistake {name!r} passes every comparison")

        return run

    def _fill(self, module: numpy_impl.nn.Module, rng: np.random.Generator) -> dict[str, Array]:
        """Put values into a module's state; what goes by two names has one value."""
        values = {k: self.make_state(rng, k, v) for k, v in module.state_dict().items()}
        module.load_state_dict(values)
        return module.state_dict()

    def _given(
        self, rng: np.random.Generator, shape: tuple[int, ...], regime: Regime, config: Config
    ) -> dict[str, Array]:
        """Named arrays for one call: state, inputs, and a random cotangent."""
        filled = self._fill(self.build(config, "float64"), rng)
        given = {f"state {k}": v.copy() for k, v in filled.items()}
        inputs = self.make_inputs(rng, shape, regime, config)
        given |= {f"input {i}": np.asarray(x) for i, x in enumerate(inputs)}
        with torch.no_grad():
            module = self.build_torch(config, torch.float64)
            y = module(*[to_torch(np.asarray(x)) for x in inputs])
        if y.is_floating_point():
            given["cotangent"] = np.asarray(rng.standard_normal(tuple(y.shape)))
        return given

    # ---- one step on either side --------------------------------------------------------------

    def run_numpy(
        self, given: Mapping[str, Array], config: Config, mode: str, seed: int
    ) -> dict[str, Array]:
        """Forward and backward in NumPy: outputs, gradients, buffers by label."""
        inputs = [x for k, x in given.items() if k.startswith("input")]
        module = self.build(config, str(dtype_of(given)))
        module.load_state_dict({k[6:]: x for k, x in given.items() if k.startswith("state")})
        module.train(mode == "train")
        numpy_impl.manual_seed(seed)
        y = module(*inputs)
        found = {"forward output": np.asarray(y)}
        if "cotangent" in given:
            dx = module.backward(given["cotangent"])
            found |= self._label_inputs(inputs, dx)
        return found | self._label_state(module)

    def run_torch(
        self, given: Mapping[str, Array], config: Config, mode: str, seed: int
    ) -> dict[str, Array]:
        """The same in torch."""
        inputs = [to_torch(x) for k, x in given.items() if k.startswith("input")]
        leaves = [x for x in inputs if x.is_floating_point()][: self.differentiable]
        for x in leaves:
            x.requires_grad_()
        dtype = torch.float64 if dtype_of(given) == np.float64 else torch.float32
        module = self.build_torch(config, dtype)
        module.load_state_dict(
            {k[6:]: to_torch(x) for k, x in given.items() if k.startswith("state")}
        )
        module.train(mode == "train")
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every GPU backend
        y = module(*inputs)
        found = {"forward output": to_numpy(y)}
        if "cotangent" in given:
            y.backward(to_torch(given["cotangent"]))
            found |= {f"gradient input {i}": to_numpy(x.grad) for i, x in enumerate(leaves)}
        grads = {
            f"gradient {k}": to_numpy(p.grad if p.grad is not None else torch.zeros_like(p))
            for k, p in module.named_parameters()
        }
        return found | grads | {f"buffer {k}": to_numpy(b) for k, b in module.named_buffers()}

    def _label_inputs(self, inputs: Sequence[Array], dx: Any) -> dict[str, Array]:
        grads = dx if isinstance(dx, tuple) else (dx,)
        wanted = [x for x in inputs if x.dtype.kind == "f"][: self.differentiable]
        return {
            f"gradient input {i}": g for i, (_, g) in enumerate(zip(wanted, grads, strict=True))
        }

    def _label_state(self, module: numpy_impl.nn.Module) -> dict[str, Array]:
        grads = {
            f"gradient {k}": p.grad if p.grad is not None else np.zeros_like(p.data)
            for k, p in module.named_parameters()
        }
        return grads | {f"buffer {k}": b.copy() for k, b in module.named_buffers()}

    # ---- what holds for any module ------------------------------------------------------------

    def _sample(
        self, rng: np.random.Generator, config: Config
    ) -> tuple[numpy_impl.nn.Module, dict[str, Array], list[Array]]:
        """A module with random state, the named arrays it was given, and its inputs."""
        shape = list(self.inputs)[-1].of(config)
        given = self._given(rng, shape, self._plain(), config)
        module = self.build(config, "float64")
        module.load_state_dict({k[6:]: x for k, x in given.items() if k.startswith("state")})
        return module, given, [x for k, x in given.items() if k.startswith("input")]

    def _plain(self) -> Regime:
        return self.regimes.get("unit") or next(iter(self.regimes.values()))

    def _finite_differences(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """<dx, v> against the slope of <cotangent, y> along random v, by neither side's backward."""
        module, given, inputs = self._sample(rng, config)
        if "cotangent" not in given:
            return
        dy = given["cotangent"]
        for mode in self.modes:
            module.train(mode == "train")
            start = copy.deepcopy(module)
            points = [f"input {i}" for i, x in enumerate(inputs) if x.dtype.kind == "f"]
            points = points[: self.differentiable] + [
                f"state {k}" for k, _ in module.named_parameters()
            ]

            def value(at: str, v: Array, h: float, start: Any = start) -> float:
                moved = copy.deepcopy(start)
                args = [x + h * v if at == f"input {i}" else x for i, x in enumerate(inputs)]
                for k, p in moved.named_parameters():
                    if at == f"state {k}":
                        p.data += h * v
                numpy_impl.manual_seed(5)
                with numpy_impl.nn.no_grad():
                    return float(np.sum(dy * moved(*args)))

            run = copy.deepcopy(start)
            numpy_impl.manual_seed(5)
            run(*inputs)
            dx = run.backward(dy)
            slopes = {
                k.removeprefix("gradient "): g for k, g in self._label_inputs(inputs, dx).items()
            }
            slopes |= {
                f"state {k}": p.grad for k, p in run.named_parameters() if p.grad is not None
            }
            for at in points:
                v = rng.standard_normal(given[at].shape)
                h = 1e-5
                near = (value(at, v, h) - value(at, v, -h)) / (2 * h)
                far = (value(at, v, 2 * h) - value(at, v, -2 * h)) / (4 * h)
                ours = float(np.sum(slopes[at] * v)) if at in slopes else 0.0
                size = np.sum(np.abs(dy)) * (1 + abs(value(at, v, 0.0)))
                allowed = 4 * abs(near - far) + 1e3 * np.finfo(np.float64).eps * size / h
                log.require(
                    abs(near - ours) <= allowed,
                    f"{mode}: slope along {at} is {near!r} by central differences, {ours!r} by "
                    f"backward; allowed {allowed:.2g}",
                )

    def _layouts(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """The same numbers however they lie in memory; nothing handed in is changed."""
        module, given, inputs = self._sample(rng, config)
        for layout, arrange in self.layouts.items():
            cast = {k: x for k, x in given.items()}
            for k in cast:
                if layout == "broadcast" and not k.startswith("state"):
                    cast[k] = arrange(cast[k]).copy()

            def run(g: Mapping[str, Array], arrange: Any = arrange) -> dict[str, Array]:
                laid = {k: x if k.startswith("state") else arrange(x) for k, x in g.items()}
                kept = {k: x.copy() for k, x in laid.items()}
                found = self.run_numpy(laid, config, "train", 5)
                for k, x in laid.items():
                    log.require(same(x, kept[k]), f"{k} was changed in place")
                return found

            log.compare(
                compare(run, lambda g: self.run_torch(g, config, "train", 5), cast, "float64"),
                layout,
            )

    def _used_twice(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Two forwards, then two backwards: gradients add, earlier results stay as they were."""
        _, given, inputs = self._sample(rng, config)
        again = self._given(rng, list(self.inputs)[-1].of(config), self._plain(), config)
        both = given | {f"second {k}": x for k, x in again.items() if not k.startswith("state")}
        if "cotangent" not in given:
            return

        def ours(g: Mapping[str, Array]) -> dict[str, Array]:
            module = self.build(config, "float64")
            module.load_state_dict({k[6:]: x for k, x in g.items() if k.startswith("state")})
            numpy_impl.manual_seed(5)
            x1 = [x for k, x in g.items() if k.startswith("input")]
            x2 = [x for k, x in g.items() if k.startswith("second input")]
            y1 = module(*x1)
            held = np.array(y1)
            y2 = module(*x2)
            log.require(same(np.asarray(y1), held), "the second forward changed the first's output")
            if not self.aliases:
                shared = any(
                    np.may_share_memory(y, x) for y, xs in ((y1, x1), (y2, x2)) for x in xs
                )
                log.require(not shared, "the output shares memory with an input")
            dx2 = module.backward(g["second cotangent"])
            held = [np.array(x) for x in (dx2 if isinstance(dx2, tuple) else (dx2,))]
            dx1 = module.backward(g["cotangent"])
            after = dx2 if isinstance(dx2, tuple) else (dx2,)
            unchanged = all(same(a, b) for a, b in zip(after, held, strict=True))
            log.require(unchanged, "the second backward changed the first's gradient")
            found = {"forward 1": np.asarray(y1), "forward 2": np.asarray(y2)}
            found |= {f"{k} of 1": x for k, x in self._label_inputs(x1, dx1).items()}
            found |= {f"{k} of 2": x for k, x in self._label_inputs(x2, dx2).items()}
            return found | self._label_state(module)

        def theirs(g: Mapping[str, Array]) -> dict[str, Array]:
            module = self.build_torch(config, torch.float64)
            module.load_state_dict(
                {k[6:]: to_torch(x) for k, x in g.items() if k.startswith("state")}
            )
            torch.default_generator.manual_seed(5)
            x1 = [to_torch(x) for k, x in g.items() if k.startswith("input")]
            x2 = [to_torch(x) for k, x in g.items() if k.startswith("second input")]
            for xs in (x1, x2):
                for x in [x for x in xs if x.is_floating_point()][: self.differentiable]:
                    x.requires_grad_()
            y1, y2 = module(*x1), module(*x2)
            torch.autograd.backward(
                [y1, y2], [to_torch(g["cotangent"]), to_torch(g["second cotangent"])]
            )
            found = {"forward 1": to_numpy(y1), "forward 2": to_numpy(y2)}
            for n, xs in ((1, x1), (2, x2)):
                leaves = [x for x in xs if x.requires_grad]
                found |= {
                    f"gradient input {i} of {n}": to_numpy(x.grad) for i, x in enumerate(leaves)
                }
            for k, p in module.named_parameters():
                found[f"gradient {k}"] = to_numpy(
                    p.grad if p.grad is not None else torch.zeros_like(p)
                )
            return found | {f"buffer {k}": to_numpy(b) for k, b in module.named_buffers()}

        log.compare(compare(ours, theirs, both, "float64"), "used twice")

    def _second_backward(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Backward before forward, again, with a wrong shape, or after no_grad raises."""
        module, given, inputs = self._sample(rng, config)
        if "cotangent" not in given:
            log.require(True, "")
            return
        dy = given["cotangent"]
        log.require(raises(module.backward, dy), "backward before any forward did not raise")
        module(*inputs)
        wrong = np.zeros((*dy.shape, 2))
        log.require(raises(module.backward, wrong), "a gradient of a wrong shape did not raise")
        module.backward(dy)  # still there after the refused one
        before = [None if p.grad is None else p.grad.copy() for p in module.parameters()]
        log.require(raises(module.backward, dy), "a second backward did not raise")
        with numpy_impl.nn.no_grad():
            module(*inputs)
        log.require(raises(module.backward, dy), "backward after a no_grad forward did not raise")
        after = [p.grad for p in module.parameters()]
        log.require(
            all(
                (a is None and b is None) or same(a, b) for a, b in zip(after, before, strict=True)
            ),
            "a refused backward changed a gradient",
        )
        saved = sum(len(m._saved) for m in module.modules())
        log.require(saved == 0, f"{saved} entries stay on the stacks after all backwards")
        module.requires_grad_(False)
        module.zero_grad()
        module(*inputs)
        module.backward(dy)
        log.require(
            all(p.grad is None for p in module.parameters()), "a frozen parameter got a gradient"
        )

    def _state_dict(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Same keys in the same order, shapes and dtypes; each side loads the other's."""
        for dtype in ("float32", "float64"):
            ours = self.build(config, dtype)
            theirs = self.build_torch(config, getattr(torch, dtype))
            a, b = ours.state_dict(), theirs.state_dict()
            log.require(list(a) == list(b), f"keys {list(a)}, torch has {list(b)}")
            for k in a:
                alike = a[k].shape == tuple(b[k].shape) and str(a[k].dtype) == str(b[k].dtype)[6:]
                log.require(
                    alike, f"{k}: {a[k].shape} {a[k].dtype}, torch {tuple(b[k].shape)} {b[k].dtype}"
                )
            values = {k: v.copy() for k, v in self._fill(ours, rng).items()}
            theirs.load_state_dict(to_torch(values))
            ours.load_state_dict(theirs.state_dict())
            log.require(
                all(same(v, values[k]) for k, v in ours.state_dict().items()), "torch -> NumPy"
            )
            other = self.build_torch(config, getattr(torch, dtype))
            other.load_state_dict(to_torch(ours.state_dict()))
            back = to_numpy(dict(other.state_dict()))
            log.require(all(same(v, values[k]) for k, v in back.items()), "NumPy -> torch")
            log.require(
                raises(
                    ours.load_state_dict, {**values, "no such key": np.zeros(1)}, error=RuntimeError
                ),
                "an unknown key was accepted",
            )
            for k in values:
                less = {name: v + 1 for name, v in values.items() if name != k}
                log.require(raises(ours.load_state_dict, less, error=RuntimeError), f"{k} missing")
                bad = {**{n: v + 1 for n, v in values.items()}, k: np.zeros((9, 9, 9))}
                log.require(raises(ours.load_state_dict, bad, error=RuntimeError), f"{k} misshapen")
            kept = all(same(v, values[k]) for k, v in ours.state_dict().items())
            log.require(kept, "a refused load_state_dict changed something")

    def _frame(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """repr, parameter names, dtype moves and zero_grad, as torch does them."""
        ours, theirs = self.build(config, "float32"), self.build_torch(config, torch.float32)
        log.require(repr(ours) == repr(theirs), f"repr {ours!r}, torch {theirs!r}")
        a = [(k, p.shape) for k, p in ours.named_parameters()]
        b = [(k, tuple(p.shape)) for k, p in theirs.named_parameters()]
        log.require(a == b, f"parameters {a}, torch {b}")
        names = [k for k, _ in ours.named_modules()]
        others = [k for k, _ in theirs.named_modules()]
        log.require(names == others, f"modules {names}, torch {others}")
        held = list(ours.parameters())
        ours.double()
        log.require(all(p.dtype == np.float64 for p in held), "double() made new parameters")
        log.require(ours.training and not any(m.training for m in ours.eval().modules()), "eval()")
        log.require(all(m.training for m in ours.train().modules()), "train()")
        module, given, inputs = self._sample(rng, config)
        if "cotangent" in given:
            module(*inputs)
            module.backward(given["cotangent"])
            module.zero_grad(set_to_none=False)
            kept = all(p.grad is None or not p.grad.any() for p in module.parameters())
            log.require(kept, "zero_grad(set_to_none=False) left something")
            module.zero_grad()
            log.require(
                all(p.grad is None for p in module.parameters()), "zero_grad left a gradient"
            )

    def _refusals(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Bad input raises on both sides, says why, and changes nothing."""
        _, given, inputs = self._sample(rng, config)
        cases = list(self.refusals)
        cases.append(Refusal(config, (inputs[0].tolist(), *inputs[1:]), "array", torch=False))
        if any("weight" in k or "bias" in k for k in given):
            cases.append(Refusal(config, (inputs[0].astype(np.float32), *inputs[1:]), "float32"))
            cases.append(Refusal(config, (inputs[0].astype(np.int64), *inputs[1:]), "int64"))
        for refusal in cases:
            self._refuses(log, refusal)

    def _refuses(self, log: Log, refusal: Refusal) -> None:
        config = refusal.config if refusal.config is not None else dict(self.configs[0])
        what = f"{config} {brief(refusal.inputs)}"
        if refusal.inputs is None:
            said = refused(lambda: type(self).numpy(**config))
            log.require(said is not None and says(said, refusal.says), f"{what}: said {said!r}")
            if refusal.torch:
                log.require(
                    refused(lambda: type(self).torch(**config)) is not None,
                    f"{what}: torch accepts",
                )
            return
        module = self.build(config, "float64").train(refusal.training)
        before = copy.deepcopy(module.state_dict())
        said = refused(lambda: module(*refusal.inputs))
        log.require(said is not None and says(said, refusal.says), f"{what}: said {said!r}")
        unchanged = all(same(v, before[k]) for k, v in module.state_dict().items())
        saved = sum(len(m._saved) for m in module.modules())
        log.require(unchanged and not saved, f"{what}: refused, but something changed")
        if refusal.torch:
            other = self.build_torch(config, torch.float64).train(refusal.training)
            accepted = refused(lambda: other(*to_torch(tuple(refusal.inputs)))) is None
            log.require(not accepted, f"{what}: torch accepts it")

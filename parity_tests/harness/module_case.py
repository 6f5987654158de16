"""Modules and losses under parity: one declaration, every check.

class TestBatchNorm1d(ModuleParity):
    numpy, torch = numpy_impl.nn.BatchNorm1d, torch.nn.BatchNorm1d
    configs = grid(num_features=[1, 5], eps=[1e-5, 1e-1], momentum=[0.1, 0.9, None])
    inputs = arrays("N num_features", N=[2, 7])
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

import numpy_impl
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.budget import Arrays
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
)
from parity_tests.harness.module_rules import EVERY_CONFIG, ONE_CONFIG, Rule
from parity_tests.harness.refusal import Refusal
from parity_tests.harness.rounding import otherwise
from parity_tests.harness.stand_ins import Compared, Place


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
        network: True where several layers follow each other, or steps inside one: each is then
            allowed to round in its own way, see `rounding`.
        draws: how weights start, by the names in `Generator.exactness()`.
        state_as_built: True where what building made is the state, and not random numbers; a
            stand-in then starts from what it has built itself.
    """

    configs: ClassVar[Sequence[Config]] = ({},)
    inputs: ClassVar[Sequence[Shape]] = ()
    regimes: ClassVar[Mapping[str, Regime]] = REGIMES
    modes: ClassVar[Sequence[str]] = ("train", "eval")
    differentiable: ClassVar[int] = 1
    refusals: ClassVar[Sequence[Refusal]] = ()
    layouts: ClassVar[Mapping[str, Callable[[Array], Array]]] = LAYOUTS
    aliases: ClassVar[bool] = False
    network: ClassVar[bool] = False
    draws: ClassVar[Sequence[str]] = ("uniform", "normal")
    state_as_built: ClassVar[bool] = False

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
            return np.asarray(rng.uniform(0.5, 2.0, like.shape))
        fan_in = like.shape[1] if like.ndim > 1 else 1
        return np.asarray(rng.standard_normal(like.shape) / np.sqrt(max(fan_in, 1)))

    def arguments(self, config: Config) -> Config:
        """What both sides are made with, from a configuration; arrays go to torch as tensors."""
        return config

    def build(self, config: Config, dtype: str) -> numpy_impl.nn.Module:
        """The NumPy module."""
        return type(self).numpy(**self.arguments(config)).to(dtype)

    def build_torch(self, config: Config, dtype: torch.dtype) -> torch.nn.Module:
        """The torch module."""
        return type(self).torch(**to_torch(self.arguments(config))).to(dtype)

    def beside_torch(self, settings: Settings, stand_in: Any) -> Iterator[Config]:
        """A module of every configuration, the last ones first, with plain inputs."""
        rng, other = self.rng(settings, "beside torch"), self.standing_in(stand_in)
        for shape, config in itertools.product(reversed(self.inputs), reversed(self.configs)):
            inputs = self.make_inputs(rng, shape.of(config), self.plain(), config)
            yield {
                "mine": other.build(config, "float64"),
                "theirs": type(self).torch,
                "kwargs": self.arguments(config),
                "numpy_kwargs": {},
                "inputs": list(map(np.asarray, inputs)),
                "modes": self.modes if len(self.modes) == 1 else None,
            }

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Agreement over everything, then what holds for any module."""
        configs = settings.some(self.configs)
        for config in configs:
            text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
            for mode in self.modes:
                for dtype in settings.dtypes:
                    name = f"agrees[{text}|{mode}|{dtype}]"
                    yield Check(name, self._agrees(settings, name, config, mode, dtype))
        plan = [(name, rule, configs) for name, rule in EVERY_CONFIG.items()]
        plan += [(name, rule, configs[-1:]) for name, rule in ONE_CONFIG.items()]
        for name, rule, chosen in plan:
            for config in chosen:
                text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
                run = self._bind(settings, f"{name}{text}", rule, config)
                yield Check(f"{name}[{text}]", run)
        yield from self.trials(settings)

    def _bind(
        self, settings: Settings, name: str, rule: Rule, config: Config
    ) -> Callable[[Log], None]:
        return lambda log: rule(self, log, self.rng(settings, name), config)

    def _agrees(
        self, settings: Settings, name: str, config: Config, mode: str, dtype: str
    ) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            for place in self._places(settings, name, config, mode):
                log.compare(place.compare(self, dtype), place.name)

        return run

    def places(self, settings: Settings) -> Iterator[Place]:
        """Every configuration and mode; every size and regime in them."""
        for config in self.configs:
            for mode in self.modes:
                yield from self._places(settings, f"agrees[{config}{mode}]", config, mode)

    def _places(
        self, settings: Settings, name: str, config: Config, mode: str
    ) -> Iterator[Compared]:
        rng = self.rng(settings, name)
        *others, last = self.inputs  # every size with plain numbers, the last with every regime
        others = [] if settings.quick or mode == "eval" else others
        plan = [(shape, "plain", self.plain()) for shape in others]
        regimes = list(self.regimes.items())[:: 2 if settings.quick else 1]
        plan += [(last, regime_name, regime) for regime_name, regime in regimes]
        for shape, regime_name, regime in plan:
            given = self.given(rng, shape.of(config), regime, config)
            seed = int(rng.integers(2**31))
            theirs = partial(self.run_torch, config=config, mode=mode, seed=seed)
            yield Compared(
                f"{shape} {regime_name}",
                partial(_run, config=config, mode=mode, seed=seed),
                theirs,
                given,
                seed,
                nearby=otherwise(self, theirs, seed),
            )

    def fill(self, module: numpy_impl.nn.Module, rng: np.random.Generator) -> dict[str, Array]:
        """Put values into a module's state; what goes by two names has one value."""
        values = {k: self.make_state(rng, k, v) for k, v in module.state_dict().items()}
        module.load_state_dict(values)
        return module.state_dict()

    def given(
        self, rng: np.random.Generator, shape: tuple[int, ...], regime: Regime, config: Config
    ) -> dict[str, Array]:
        """Named arrays for one call: state, inputs, and a random cotangent."""
        built = self.build(config, "float64")
        state = built.state_dict() if self.state_as_built else self.fill(built, rng)
        given = {f"state {k}": v.copy() for k, v in state.items()}
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
        if not self.state_as_built:
            state = {k[6:]: x for k, x in given.items() if k.startswith("state")}
            module.load_state_dict(state)
        module.train(mode == "train")
        numpy_impl.manual_seed(seed)
        y = module(*inputs)
        found = {"forward output": np.asarray(y)}
        if "cotangent" in given:
            dx = module.backward(given["cotangent"])
            found |= self.label_inputs(inputs, dx)
        return found | self.label_state(module)

    def run_torch(
        self, given: Mapping[str, Array], config: Config, mode: str, seed: int
    ) -> dict[str, Array]:
        """The same in torch."""
        inputs = [to_torch(x) for k, x in given.items() if k.startswith("input")]
        leaves = [x for x in inputs if x.is_floating_point()][: self.differentiable]
        for x in leaves:
            x.requires_grad_()
        dtype = torch.float64 if dtype_of(given) == np.float64 else torch.float32
        module = self._torch_module(config, dtype)
        module.zero_grad()
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

    def _torch_module(self, config: Config, dtype: torch.dtype) -> torch.nn.Module:
        """A torch module to load a state into: building one takes longer than running it."""
        built = self.__dict__.setdefault("_built", {})
        held = built.get((id(config), dtype))
        if held is None or held[0] is not config:  # ids come back once their dict is gone
            held = built[id(config), dtype] = config, self.build_torch(config, dtype)
        return held[1]

    def label_inputs(self, inputs: Sequence[Array], dx: Any) -> dict[str, Array]:
        grads = dx if isinstance(dx, tuple) else (dx,)
        wanted = [x for x in inputs if x.dtype.kind == "f"][: self.differentiable]
        return {
            f"gradient input {i}": g for i, (_, g) in enumerate(zip(wanted, grads, strict=True))
        }

    def label_state(self, module: numpy_impl.nn.Module) -> dict[str, Array]:
        grads = {
            f"gradient {k}": p.grad if p.grad is not None else np.zeros_like(p.data)
            for k, p in module.named_parameters()
        }
        return grads | {f"buffer {k}": b.copy() for k, b in module.named_buffers()}

    def sample(
        self, rng: np.random.Generator, config: Config
    ) -> tuple[numpy_impl.nn.Module, dict[str, Array], list[Array]]:
        """A module with random state, the named arrays it was given, and its inputs."""
        shape = list(self.inputs)[-1].of(config)
        given = self.given(rng, shape, self.plain(), config)
        module = self.build(config, "float64")
        module.load_state_dict({k[6:]: x for k, x in given.items() if k.startswith("state")})
        return module, given, [x for k, x in given.items() if k.startswith("input")]

    def plain(self) -> Regime:
        return self.regimes.get("unit") or next(iter(self.regimes.values()))


def _run(case: ModuleParity, given: Arrays, config: Config, mode: str, seed: int) -> Arrays:
    return case.run_numpy(given, config, mode, seed)

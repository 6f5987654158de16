"""Pure functions under parity: a forward, and a backward that is handed what it needs.

class TestSoftmax(FunctionParity):
    numpy, torch, backward = ours.softmax, theirs.softmax, ours.softmax_backward
    configs = grid(dim=[0, -1])
    inputs = arrays("N C", N=[1, 7], C=[5])
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
from parity_tests.harness.budget import compare
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
from parity_tests.harness.limits import (
    a_gradient_of_another_dtype,
    called_alike,
    function_overflow_is_silent,
)
from parity_tests.harness.refusal import REFUSALS, Refusal, raises, refused, says
from parity_tests.harness.rounding import otherwise
from parity_tests.harness.signatures import backward_arguments
from parity_tests.harness.stand_ins import Compared, Place


class FunctionParity(Case):
    """A NumPy function and its backward beside a torch function and autograd.

    Class attributes:
        backward: the NumPy function that gives the gradients; None where there is none. Its own
            parameter names say what it is handed: see `call_backward`.
        configs: keyword arguments, one dict a configuration. Arrays among them take the dtype of
            the inputs if they are floats, and go to torch as tensors.
        inputs: shapes of the first input (see `arrays`); `make_inputs` says what else goes in. The
            last one meets every regime and every derived check, so let it be odd and not square.
        regimes: what values the inputs take.
        differentiable: how many of the inputs have a gradient.
        refusals: bad input, in addition to what every function must refuse.
        layouts: how inputs and cotangent may lie in memory.
        aliases: True where results may share memory with what was handed in, as torch's do.
        network: True where steps follow each other inside: each may round in its own way.
        mistakes: wrong stand-ins for `numpy`, or pairs of them for `numpy` and `backward`.
    """

    backward: ClassVar[Callable[..., Any] | None] = None
    configs: ClassVar[Sequence[Config]] = ({},)
    inputs: ClassVar[Sequence[Shape]] = ()
    regimes: ClassVar[Mapping[str, Regime]] = REGIMES
    differentiable: ClassVar[int] = 1
    refusals: ClassVar[Sequence[Refusal]] = ()
    layouts: ClassVar[Mapping[str, Callable[[Array], Array]]] = LAYOUTS
    aliases: ClassVar[bool] = False
    network: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.backward is not None and cls.backward not in cls.covers:
            cls.covers = (*cls.covers, cls.backward)

    # ---- what a case may override -----------------------------------------------------------

    def make_inputs(
        self, rng: np.random.Generator, shape: tuple[int, ...], regime: Regime, config: Config
    ) -> tuple[Array, ...]:
        """The inputs of one call, float64 (and integers)."""
        return (regime(rng, shape),)

    def call(self, inputs: Sequence[Array], config: Config) -> Array:
        """The NumPy function's output."""
        return type(self).numpy(*inputs, **config)

    def call_torch(self, inputs: Sequence[torch.Tensor], config: Config) -> torch.Tensor:
        """The torch function's output."""
        return type(self).torch(*inputs, **config)

    def call_backward(self, dy: Array, y: Array, inputs: Sequence[Array], config: Config) -> Any:
        """The gradients of the differentiable inputs: an array, or a tuple in input order.

        The backward is handed its arguments by name: the first one is dy, `y` or `output` is what
        the forward returned, the names of the forward's inputs are those inputs (`x` stands for
        the first), and the rest comes from the configuration.
        """
        backward = type(self).backward
        assert backward is not None
        more = backward_arguments(type(self).numpy, backward, y, inputs, config)
        return backward(dy, **more)

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Agreement over everything, then what holds for any function."""
        configs = settings.some(self.configs)
        for config in configs:
            for dtype in settings.dtypes:
                name = f"agrees[{_text(config, dtype)}]"
                yield Check(name, self._agrees(settings, name, config, dtype))
        derived: list[tuple[str, Callable[[Log, np.random.Generator, Config], None], list[Config]]]
        derived = [
            ("finite differences", self._finite_differences, configs if self.backward else []),
            ("nan and infinity", self._non_finite, configs[-1:]),
            ("memory layouts", self._layouts, configs[-1:]),
            ("called twice", self._called_twice, configs[-1:]),
            ("arrays come out", self._arrays_come_out, configs[-1:]),
            ("refusals", self._refusals, configs[:1]),
            (
                "a gradient of another dtype",
                partial(a_gradient_of_another_dtype, self),
                configs if self.backward else [],
            ),
            ("called alike", partial(called_alike, self), configs[-1:]),
            ("overflow is silent", partial(function_overflow_is_silent, self), configs[-1:]),
        ]
        for title, method, chosen in derived:
            for config in chosen:
                name = f"{title}[{_text(config)}]"
                yield Check(name, self._bind(settings, name, method, config))
        yield from self.trials(settings)

    def _bind(
        self, settings: Settings, name: str, method: Callable[..., None], config: Config
    ) -> Callable[[Log], None]:
        return lambda log: method(log, self.rng(settings, name), config)

    def _agrees(
        self, settings: Settings, name: str, config: Config, dtype: str
    ) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            for place in self._places(settings, name, config):
                log.compare(place.compare(self, dtype), place.name)

        return run

    def places(self, settings: Settings) -> Iterator[Place]:
        """Every configuration; every size and regime in them."""
        for config in self.configs:
            yield from self._places(settings, f"agrees[{_text(config)}]", config)

    def instead(self, stand_in: Any) -> dict[str, Any]:
        """`numpy`, and `backward` too for a pair."""
        pair = stand_in if isinstance(stand_in, tuple) else (stand_in, type(self).backward)
        return dict(zip(("numpy", "backward"), map(_static, pair)))

    def beside_torch(self, settings: Settings, stand_in: Any) -> Iterator[Config]:
        """The function with every configuration, the last ones first; plain inputs, then others."""
        rng, other = self.rng(settings, "beside torch"), type(self.standing_in(stand_in))
        for regime, shape, config in itertools.product(
            dict.fromkeys((self.plain(), *self.regimes.values())),
            reversed(self.inputs),
            reversed(self.configs),
        ):
            inputs = self.make_inputs(rng, shape.of(config), regime, config)
            yield {
                "mine": other.numpy,
                "theirs": type(self).torch,
                "kwargs": config,
                "inputs": list(map(np.asarray, inputs)),
                "backward": other.backward,
            }

    def _places(self, settings: Settings, name: str, config: Config) -> Iterator[Compared]:
        rng = self.rng(settings, name)
        *others, last = self.inputs  # every size with plain numbers, the last with every regime
        plan = [(shape, "plain", self.plain()) for shape in ([] if settings.quick else others)]
        regimes = list(self.regimes.items())[:: 2 if settings.quick else 1]
        plan += [(last, regime_name, regime) for regime_name, regime in regimes]
        for shape, regime_name, regime in plan:
            given = self.given(rng, shape.of(config), regime, config)
            yield self._place(f"{shape} {regime_name}", given, config, rng)

    def _place(
        self, name: str, given: Mapping[str, Array], config: Config, rng: np.random.Generator
    ) -> Compared:
        seed = int(rng.integers(2**31))
        theirs = partial(self.run_torch, config=config, seed=seed)
        return Compared(
            name,
            lambda case, g: case.run_numpy(g, config, seed),
            theirs,
            given,
            seed,
            nearby=otherwise(self, theirs, seed),
        )

    def plain(self) -> Regime:
        return self.regimes.get("unit") or next(iter(self.regimes.values()))

    def given(
        self, rng: np.random.Generator, shape: tuple[int, ...], regime: Regime, config: Config
    ) -> dict[str, Array]:
        """Named arrays for one call: inputs, and a random cotangent."""
        inputs = [np.asarray(x) for x in self.make_inputs(rng, shape, regime, config)]
        given = {f"input {i}": x for i, x in enumerate(inputs)}
        with torch.no_grad():
            y = self.call_torch([to_torch(x) for x in inputs], _arrays_as(config, given, to_torch))
        if self.backward is not None:
            given["cotangent"] = np.asarray(rng.standard_normal(tuple(y.shape)))
        return given

    def _sample(self, rng: np.random.Generator, config: Config) -> dict[str, Array]:
        return self.given(rng, list(self.inputs)[-1].of(config), self.plain(), config)

    # ---- one call on either side ------------------------------------------------------------

    def run_numpy(self, given: Mapping[str, Array], config: Config, seed: int) -> dict[str, Array]:
        """Forward and backward in NumPy: output and gradients by label."""
        inputs, config = _inputs(given), _arrays_as(config, given, np.copy)
        numpy_impl.manual_seed(seed)
        y = self.call(inputs, config)
        found = {"forward output": np.asarray(y)}
        if "cotangent" in given:
            dx = self.call_backward(given["cotangent"], y, inputs, config)
            found |= self._label(inputs, dx)
        return found

    def run_torch(self, given: Mapping[str, Array], config: Config, seed: int) -> dict[str, Array]:
        """The same in torch."""
        inputs, config = to_torch(_inputs(given)), _arrays_as(config, given, to_torch)
        leaves = [x for x in inputs if x.is_floating_point()][: self.differentiable]
        for x in leaves if "cotangent" in given else []:
            x.requires_grad_()
        torch.default_generator.manual_seed(seed)
        y = self.call_torch(inputs, config)
        found = {"forward output": to_numpy(y)}
        if "cotangent" in given:
            y.backward(to_torch(given["cotangent"]))
            for i, x in enumerate(leaves):
                grad = torch.zeros_like(x) if x.grad is None else x.grad
                found[f"gradient input {i}"] = to_numpy(grad)
        return found

    def _label(self, inputs: Sequence[Array], dx: Any) -> dict[str, Array]:
        grads = dx if isinstance(dx, tuple) else (dx,)
        wanted = [x for x in inputs if x.dtype.kind == "f"][: self.differentiable]
        pairs = enumerate(zip(wanted, grads, strict=True))
        return {f"gradient input {i}": np.asarray(grad) for i, (_, grad) in pairs}

    # ---- what holds for any function --------------------------------------------------------

    def _finite_differences(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """<dx, v> against the slope of <dy, y> along random v: a referee that is neither side."""
        given = self._sample(rng, config)
        inputs, dy = _inputs(given), given["cotangent"]

        def value(at: int, step: Any) -> float:
            numpy_impl.manual_seed(5)
            moved = [x + step if i == at else x for i, x in enumerate(inputs)]
            return float(np.sum(dy * self.call(moved, config)))

        gradients = self.run_numpy(given, config, 5)
        places = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"][: self.differentiable]
        for n, at in enumerate(places):
            v, h = rng.standard_normal(inputs[at].shape), 1e-5
            near = (value(at, h * v) - value(at, -h * v)) / (2 * h)
            far = (value(at, 2 * h * v) - value(at, -2 * h * v)) / (4 * h)
            ours = float(np.sum(gradients[f"gradient input {n}"] * v))
            size = np.sum(np.abs(dy)) * (1 + abs(value(at, 0 * v)))
            allowed = 4 * abs(near - far) + 1e3 * np.finfo(np.float64).eps * size / h
            log.require(
                abs(near - ours) <= allowed,
                f"slope along input {at} is {near!r} by central differences, {ours!r} by "
                f"backward; allowed {allowed:.2g}",
            )

    def _non_finite(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """NaN and infinity come out where torch has them, or are refused where torch refuses."""
        plain, shape = self.plain(), list(self.inputs)[-1].of(config)
        for planted in ((np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf, np.nan)):

            def regime(
                rng: np.random.Generator, shape: tuple[int, ...], planted: Any = planted
            ) -> Array:
                x = np.array(plain(rng, shape))
                x.flat[: len(planted)] = planted[: x.size]
                return x

            where = ", ".join(map(str, planted))
            with np.errstate(all="ignore"):
                try:
                    given = self.given(rng, shape, regime, config)
                except REFUSALS:
                    inputs = self.make_inputs(rng, shape, regime, config)
                    took = not raises(self.call, inputs, config)
                    log.require(not took, f"{where}: torch refuses it")
                else:
                    place = self._place(where, given, config, rng)
                    log.compare(place.compare(self, "float64"), where)

    def _layouts(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """The same numbers however they lie in memory; nothing handed in is changed."""
        given = self._sample(rng, config)
        for layout, arrange in self.layouts.items():
            cast = dict(given)
            if layout == "broadcast":
                cast = {k: arrange(x).copy() for k, x in given.items()}

            def run(g: Mapping[str, Array], arrange: Any = arrange) -> dict[str, Array]:
                laid = {k: arrange(x) for k, x in g.items()}
                kept = {k: x.copy() for k, x in laid.items()}
                found = self.run_numpy(laid, config, 5)
                for k, x in laid.items():
                    log.require(same(x, kept[k]), f"{k} was changed in place")
                return found

            theirs = partial(self.run_torch, config=config, seed=5)
            nearby = otherwise(self, theirs)
            log.compare(compare(run, theirs, cast, "float64", nearby=nearby), layout)

    def _called_twice(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """What one call returned is fresh: it is no input, and the next call leaves it alone."""
        results: list[tuple[Array, Array]] = []
        for given in (self._sample(rng, config), self._sample(rng, config)):
            inputs = _inputs(given)
            y = np.asarray(self.call(inputs, config))
            handed, back = [*inputs, *given.values()], [y]
            if "cotangent" in given:
                held = y.copy()
                dx = self.call_backward(given["cotangent"], y, inputs, config)
                back += self._label(inputs, dx).values()
                log.require(same(y, held), "backward changed the output it was handed")
            if not self.aliases:
                shared = any(np.may_share_memory(a, b) for a in back for b in handed)
                shared |= any(np.may_share_memory(a, y) for a in back[1:])
                log.require(not shared, "a result shares memory with what was handed in")
            log.require(all(same(x, old) for x, old in results), "a call changed earlier results")
            results += [(x, x.copy()) for x in back]

    def _arrays_come_out(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Outputs and gradients are arrays, those without an axis too."""
        for shape in self.inputs:
            given = self.given(rng, shape.of(config), self.plain(), config)
            inputs = _inputs(given)
            found = [self.call(inputs, config)]
            if "cotangent" in given:
                dx = self.call_backward(given["cotangent"], found[0], inputs, config)
                found += dx if isinstance(dx, tuple) else (dx,)
            names = [type(x).__name__ for x in found]
            log.require(set(names) == {"ndarray"}, f"{shape}: {', '.join(names)}")

    def _refusals(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Bad input raises on both sides and says why; a gradient must have the output's shape."""
        given = self._sample(rng, config)
        inputs = _inputs(given)
        y = self.call(inputs, config)
        cases = list(self.refusals)
        cases.append(
            Refusal(config, (inputs[0].tolist(), *inputs[1:]), "array, got list", torch=False)
        )
        whole = (inputs[0].astype(np.int64), *inputs[1:])
        if raises(self.call_torch, to_torch(whole), _arrays_as(config, given, to_torch)):
            cases.append(Refusal(config, whole, "int64"))
        for i, refusal in enumerate(cases):
            chosen = dict(self.configs[0]) if refusal.config is None else refusal.config
            args = inputs if refusal.inputs is None else list(refusal.inputs)
            what = f"{chosen} {brief(tuple(args))}"
            kept = [np.copy(x) for x in args]
            said = refused(lambda c=chosen, a=args: self.call(a, c))  # type: ignore[misc]
            log.require(said is not None and says(said, refusal.says), f"{what}: said {said!r}")
            log.require(all(same(x, old) for x, old in zip(args, kept)), f"{what}: changed")
            if "cotangent" in given and i < len(self.refusals):
                # Where the backward looks at it too, it says the same.
                back = partial(self.call_backward, given["cotangent"], y, args, chosen)
                said = refused(back) or ""
                log.require(not said or says(said, refusal.says), f"{what}, backward: {said!r}")
            if refusal.torch:
                theirs, tensors = _arrays_as(chosen, given, to_torch), to_torch(args)
                log.require(raises(self.call_torch, tensors, theirs), f"{what}: torch accepts it")
        if "cotangent" in given:
            dy = given["cotangent"]
            wrong = np.zeros((*dy.shape, 2))
            log.require(
                raises(self.call_backward, wrong, y, inputs, config),
                f"backward took a gradient of shape {wrong.shape} for an output of {dy.shape}",
            )


def _inputs(given: Mapping[str, Array]) -> list[Array]:
    return [x for k, x in given.items() if k.startswith("input")]


def _arrays_as(config: Config, given: Mapping[str, Array], convert: Callable[..., Any]) -> Config:
    """The configuration with its arrays in the inputs' dtype, converted for one side."""
    dtype = dtype_of(given)
    return {
        k: convert(v.astype(dtype) if v.dtype.kind == "f" else v)
        if isinstance(v, np.ndarray)
        else v
        for k, v in config.items()
    }


def _text(config: Config, *more: str) -> str:
    return "|".join([",".join(f"{k}={brief(v)}" for k, v in config.items()), *more])


def _static(function: Any) -> Any:
    return staticmethod(function) if callable(function) else function

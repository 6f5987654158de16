"""Initializers under parity: the same noise through both sides, then the same seed, then the law.

    class TestUniform(InitializerParity):
        numpy, torch = ours.uniform_, theirs.uniform_
        configs = [{}, {"a": -2.0, "b": 3.0}]
        draws = "uniform"

An initializer is a deterministic map of the numbers it draws. So both sides are handed the same
normal and uniform numbers, and the maps are compared as any other function is. Then both draw for
themselves from one seed, and must end with the same numbers and in the same state; and what comes
out must follow the law that theory gives, by a test whose chance of a false alarm is known.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch

from numpy_impl.module import Parameter
from numpy_impl.random import Generator, default_generator
from parity_tests.harness.bridge import same_stream, to_numpy
from parity_tests.harness.budget import compare
from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.handed import Handed
from parity_tests.harness.inputs import Array, Config, brief, same
from parity_tests.harness.limits import called_alike
from parity_tests.harness.promised import far_from_promised
from parity_tests.harness.refusal import Refusal, says
from parity_tests.harness.stand_ins import Compared, Place

FALSE_ALARM = 1e-9  # the chance that right draws fail `law`, by theory

VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: x.T,
    "strided": lambda x: x[::2, 1::3],
    "strided and transposed": lambda x: x[::3].T,
}
"""Ways a matrix can be a part of another one; the same on arrays and tensors."""


class InitializerParity(Case):
    """A function that fills an array in place beside one that fills a tensor.

    Class attributes:
        configs: keyword arguments, one dict a configuration.
        shapes: what is filled.
        draws: what is drawn, by its name in `Generator.exactness()`; "" for nothing.
        refusals: bad arguments; `inputs` holds the array to be filled.
        views: True where a matrix that is part of another can be filled.
    """

    configs: ClassVar[Sequence[Config]] = ({},)
    shapes: ClassVar[Sequence[tuple[int, ...]]] = ((3, 5), (6, 2), (4, 4), (1, 1), (3, 2, 5))
    draws: ClassVar[str] = ""
    refusals: ClassVar[Sequence[Refusal]] = ()
    views: ClassVar[bool] = True

    # ---- what a case may override -----------------------------------------------------------

    def law(self, config: Config, shape: tuple[int, ...]) -> Callable[[float], float] | None:
        """P(number <= x) by theory, or None where the numbers are not drawn independently."""
        return None

    # ---- one filling on either side ---------------------------------------------------------

    def fill(self, values: Array, config: Config, noise: Mapping[str, Array], seed: int) -> Array:
        """The NumPy side with the noise handed in; the seed is the global generator's."""
        default_generator.manual_seed(seed)
        function = type(self).numpy
        if "generator" in inspect.signature(function).parameters:
            config = {**config, "generator": Handed(noise)}
        return function(values, **config)

    def fill_torch(
        self, values: torch.Tensor, config: Config, noise: Mapping[str, Array], seed: int
    ) -> torch.Tensor:
        """The same in torch."""
        torch.default_generator.manual_seed(seed)
        with handed(noise):
            return type(self).torch(values, **config)

    # ---- the checks -------------------------------------------------------------------------

    def checks(self, settings: Settings) -> Iterator[Check]:
        """The same map, the same seed, the same law, in place, and nothing else."""
        for config in settings.some(self.configs):
            text = ",".join(f"{k}={brief(v)}" for k, v in config.items())
            for dtype in settings.dtypes:
                name = f"agrees[{text}|{dtype}]"
                yield Check(name, self._bind(settings, name, self._agrees, config, dtype))
                if self.draws:
                    name = f"seed for seed[{text}|{dtype}]"
                    yield Check(name, self._bind(settings, name, self._seeds, config, dtype))
            if self.law(config, (1, 1)) is not None:
                name = f"law[{text}]"
                yield Check(name, self._bind(settings, name, self._follows, config))
        yield Check("in place", self._bind(settings, "in place", self._in_place, self.configs[-1]))
        if self.views:
            yield Check("views", self._bind(settings, "views", self._views, self.configs[-1]))
        yield Check("called alike", partial(called_alike, self))
        yield Check("refusals", self._bind(settings, "refusals", self._refusals, self.configs[0]))
        yield from self.trials(settings)

    def _bind(
        self, settings: Settings, name: str, method: Callable[..., None], *args: Any
    ) -> Callable[[Log], None]:
        return lambda log: method(log, self.rng(settings, name), *args)

    def _agrees(self, log: Log, rng: np.random.Generator, config: Config, dtype: str) -> None:
        for place in self._places(rng, config):
            log.compare(place.compare(self, dtype), place.name)

    def places(self, settings: Settings) -> Iterator[Place]:
        """Every configuration and shape."""
        for config in self.configs:
            yield from self._places(self.rng(settings, f"trial {config}"), config)

    def _places(self, rng: np.random.Generator, config: Config) -> Iterator[Compared]:
        for shape in self.shapes:
            given = _noise(rng, math.prod(shape))
            seed = int(rng.integers(2**31))

            def ours(case: Any, g: Any, shape: Any = shape, seed: int = seed) -> Any:
                values = np.full(shape, np.nan, g["normal"].dtype)
                case.fill(values, config, g, seed)
                return {"forward values": values}  # what was handed in is what is filled

            def theirs(g: Mapping[str, Array], shape: Any = shape, seed: int = seed) -> Any:
                values = torch.full(shape, np.nan, dtype=getattr(torch, str(g["normal"].dtype)))
                return {"forward values": to_numpy(self.fill_torch(values, config, g, seed))}

            yield Compared(str(shape), ours, theirs, given, seed)

    def _seeds(self, log: Log, rng: np.random.Generator, config: Config, dtype: str) -> None:
        """Both sides from one seed: the numbers as near as promised, the states after them equal.

        A generator is handed in, then none, which leaves the global one to draw.
        """
        whole: dict[str, Callable[[Any], Any]] = {"": lambda x: x}
        parts = whole | VIEWS if self.views and config is self.configs[-1] else whole
        targets = [(shape, "", whole[""]) for shape in self.shapes]
        plan = [(target, own) for target in targets for own in (True, False)]
        plan += [(((40, 41), name, cut), name != "transposed") for name, cut in parts.items()]
        for (shape, view, part), own in plan:
            seed, where = int(rng.integers(2**40)), f"{shape} {view}"
            x = np.empty(shape, dtype)
            y = torch.from_numpy(x.copy())
            streams = Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
            defaults = default_generator.manual_seed(7), torch.default_generator.manual_seed(7)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers too few or too far out
                type(self).numpy(part(x), **config, **({"generator": streams[0]} if own else {}))
                type(self).torch(part(y), **config, **({"generator": streams[1]} if own else {}))
            text = far_from_promised(part(x), to_numpy(part(y)), self.draws)
            log.require(not text, f"{where} seed {seed}: {text}")
            alike = same_stream(*streams) and same_stream(*defaults)
            log.require(alike, f"{where}: another number of draws")

    def _follows(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Dvoretzky, Kiefer, Wolfowitz, Massart: P(sup |F_n - F| > d) <= 2 exp(-2 n d^2)."""
        shape = (100, 200)
        law = self.law(config, shape)
        assert law is not None
        generator = Generator().manual_seed(int(rng.integers(2**31)))
        x = np.empty(shape, np.float32)
        type(self).numpy(x, **config, generator=generator)
        n, drawn = x.size, np.sort(x, axis=None)
        expected = np.array([law(float(v)) for v in drawn])
        ranks = np.arange(n + 1) / n
        gap = float(max(np.max(expected - ranks[:-1]), np.max(ranks[1:] - expected)))
        allowed = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * n))
        log.require(gap <= allowed, f"{n} draws are {gap:.4f} from the law, allowed {allowed:.4f}")

    def _in_place(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """A Parameter or an array comes back as the very object, filled; nothing else changes."""
        for dtype in (np.float32, np.float64):
            parameter = Parameter(np.full(self.shapes[0], np.nan, dtype))
            data, grad = parameter.data, np.zeros(parameter.shape, dtype)
            parameter.grad = grad
            for target in (parameter, data):
                data.fill(np.nan)
                log.require(type(self).numpy(target, **config) is target, "returns another object")
                log.require(parameter.data is data and parameter.grad is grad, "replaced something")
                log.require(data.dtype == dtype and not np.isnan(data).any(), "not all filled")
                log.require(not grad.any(), "the gradient was changed")

    def _views(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """A part of a matrix: the same numbers in the same places, and nothing beside them."""
        for name, part in VIEWS.items():
            seed = int(rng.integers(2**31))

            def ours(g: Mapping[str, Array], part: Any = part, seed: int = seed) -> Any:
                whole = np.full((12, 7), 9.0)
                self.fill(part(whole), config, g, seed)
                return {"forward whole": whole}

            def theirs(g: Mapping[str, Array], part: Any = part, seed: int = seed) -> Any:
                whole = torch.full((12, 7), 9.0, dtype=torch.float64)
                self.fill_torch(part(whole), config, g, seed)
                return {"forward whole": to_numpy(whole)}

            log.compare(compare(ours, theirs, _noise(rng, 84), "float64", seed), name)

    def _refusals(self, log: Log, rng: np.random.Generator, config: Config) -> None:
        """Bad arguments raise on both sides, say why, draw nothing and change nothing."""
        whole, frozen = np.zeros((3, 2), np.int64), np.zeros((3, 2))
        frozen.flags.writeable = False
        common = [
            Refusal(
                config, (whole,), "tensor must be float32 or float64, got int64", torch=False
            ),  # torch can fill integers with constants
            Refusal(
                config, ([[1.0, 2.0]],), "Parameter or array, got list", torch=False
            ),  # an AttributeError there
            Refusal(config, (frozen,), "read-only", torch=False),  # torch has no such tensors
        ]
        for refusal in (*self.refusals, *common):
            given = refusal.inputs or (np.full((3, 2), 9.0),)
            chosen = self.configs[0] if refusal.config is None else refusal.config
            what = f"{chosen} {brief(given)}"
            before, stands = np.copy(given[0]), default_generator.get_state()
            said = _complaint(lambda g=given, c=chosen: type(self).numpy(*g, **c))  # type: ignore[misc]
            log.require(says(said or "", refusal.says or "."), f"{what}: said {said!r}")
            unmoved = same(stands, default_generator.get_state())
            log.require(same(given[0], before) and unmoved, f"{what}: something changed")
            if refusal.torch:
                tensor = torch.from_numpy(np.array(given[0]))
                theirs = _complaint(lambda t=tensor, c=chosen: type(self).torch(t, **c))  # type: ignore[misc]
                log.require(theirs is not None, f"{what}: torch accepts it")


@contextlib.contextmanager
def handed(given: Mapping[str, Array]) -> Iterator[None]:
    """In here torch's normal_ and uniform_ take the given numbers, in memory order as always."""
    source = Handed(given)

    def write(
        tensor: torch.Tensor, numbers: Callable[..., Array], scale: float, shift: float
    ) -> Any:
        strides = tensor.stride()
        order = sorted(range(tensor.ndim), key=lambda axis: -strides[axis])
        in_memory = tensor.permute(order)
        unit = numbers(tuple(in_memory.shape), np.float64)
        in_memory.copy_(torch.from_numpy(unit).to(tensor.dtype) * scale + shift)
        return tensor

    def normal_(tensor: Any, mean: float = 0, std: float = 1, *, generator: Any = None) -> Any:
        def numbers(shape: Any, dtype: Any) -> Array:
            return source.normal(0.0, 1.0, shape, dtype)

        return write(tensor, numbers, std, mean)

    def uniform_(tensor: Any, a: float = 0, b: float = 1, *, generator: Any = None) -> Any:
        return write(tensor, source.rand, b - a, a)

    with (
        mock.patch.object(torch.Tensor, "normal_", normal_),
        mock.patch.object(torch.Tensor, "uniform_", uniform_),
    ):
        yield


def _noise(rng: np.random.Generator, n: int) -> dict[str, Array]:
    """Enough numbers for the rounds of a rejection, too."""
    return {"normal": rng.standard_normal(40 * n + 40), "uniform": rng.random(80 * n + 80)}


def _complaint(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        return str(error) if any(error.args) else ""
    return None

"""A case, the checks derived from it, and the log that checks write into."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from parity_tests.harness.budget import Deviation
from parity_tests.harness.mistake import Mistake
from parity_tests.harness.stand_ins import Place, trials


@dataclass(frozen=True)
class Settings:
    """What a run of the suite covers."""

    seed: int = 0
    dtypes: tuple[str, ...] = ("float64", "float32")
    quick: bool = False

    def some(self, configs: Sequence[Any]) -> list[Any]:
        """All configurations, in a quick run only the last."""
        return list(configs)[-1:] if self.quick else list(configs)


@dataclass(frozen=True)
class Curve:
    """One number followed over a whole run on both sides, for the report to draw.

    `allowed` is the largest difference that would have passed at each step, where there is one.
    """

    title: str
    x_label: str
    y_label: str
    ours: list[float]
    reference: list[float]
    allowed: list[float] | None = None


@dataclass
class Log:
    """What checks found: every tensor compared, every rule tried, every failure in words.

    `curves` are what a check wants drawn; they decide nothing.
    """

    deviations: list[Deviation] = field(default_factory=list)
    rules: int = 0
    failures: list[str] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def compare(self, deviations: list[Deviation], where: str) -> None:
        """Take in compared tensors; the first that fails, in computation order, is reported."""
        self.deviations += deviations
        failed = [d for d in deviations if not d.passed]
        if failed:
            more = f"\n  and {len(failed) - 1} more of {len(deviations)}" if len(failed) > 1 else ""
            self.failures.append(f"{where}: {failed[0]}{more}")

    def require(self, holds: bool, otherwise: str) -> None:
        """Take in one rule that is not a comparison of numbers."""
        self.rules += 1
        if not holds:
            self.failures.append(otherwise)


@dataclass(frozen=True)
class Check:
    """One thing to try: a name, and a function that writes what it found into a log."""

    name: str
    run: Callable[[Log], None]

    def __str__(self) -> str:
        return self.name


class Case:
    """A technique under parity. Subclasses say what to build and feed; `checks` derives the rest.

    Class attributes:
        covers: public objects of numpy_impl that this case proves, beside `numpy`.
        mistakes: named wrong-on-purpose stand-ins for `numpy`, which the checks must catch and
            tell apart; each a `Mistake`, or the bare stand-in.
        rewrites: right stand-ins for `numpy`, which must pass every comparison.
    """

    numpy: ClassVar[Any] = None
    torch: ClassVar[Any] = None
    covers: ClassVar[tuple[Any, ...]] = ()
    mistakes: ClassVar[Mapping[str, Any]] = {}
    rewrites: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "mistakes" in vars(cls):
            cls.mistakes = {name: Mistake.of(m) for name, m in cls.mistakes.items()}

    @classmethod
    def technique(cls) -> str:
        """The name in tables: the class's, without Test."""
        return cls.__name__.removeprefix("Test")

    @classmethod
    def chapter(cls) -> str:
        """The folder of parity_tests that the case stands in."""
        return cls.__module__.split(".")[-2]

    def checks(self, settings: Settings) -> Iterator[Check]:
        """Everything to try."""
        raise NotImplementedError

    def places(self, settings: Settings) -> Iterator[Place]:
        """Where stand-ins are tried: what the checks compare, in float64. Here, nowhere."""
        return iter(())

    def beside_torch(self, settings: Settings, stand_in: Any) -> Iterator[dict[str, Any]]:
        """What `compare` is called with to hold a stand-in beside torch, in one call or another."""
        return iter(())

    def trials(self, settings: Settings) -> Iterator[Check]:
        """The checks of the suite itself: rewrites pass, mistakes are caught and told apart."""
        return trials(self, settings)

    def standing_in(self, stand_in: Any) -> Any:
        """This case with a stand-in in the place of its own `numpy`."""
        return type(type(self).__name__, (type(self),), self.instead(stand_in))()

    def instead(self, stand_in: Any) -> dict[str, Any]:
        """The class attributes that a stand-in replaces."""
        return {"numpy": stand_in if isinstance(stand_in, type) else staticmethod(stand_in)}

    def rng(self, settings: Settings, name: str) -> np.random.Generator:
        """Random numbers that depend on the seed, the case and the check, and on nothing else."""
        return np.random.default_rng(
            [settings.seed, zlib.crc32(f"{self.technique()}/{name}".encode())]
        )

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of every check; pytest asks a test class for this, wherever it stands."""
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", list(self.checks(Settings())), ids=str)

    def test_parity(self, check: Check) -> None:
        """What pytest runs, once a check."""
        log = Log()
        check.run(log)
        assert log.deviations or log.rules, f"{self.technique()}: {check} compared nothing"
        assert not log.failures, f"{self.technique()}: {check}\n" + "\n".join(log.failures[:5])

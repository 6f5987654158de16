"""Cases whose checks are written out by hand: a loader's order, a loop's manners.

class TestDataLoader(RuleCase):
    numpy, torch = ours.DataLoader, theirs.DataLoader
    mistakes = {"no second permutation": ...}

    def check_the_order_is_torchs(self, log, rng): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from parity_tests.harness.case import Case, Check, Log, Settings


class _FirstFailure(Log):
    """A log for mistakes: the first rule that is broken will do."""

    def require(self, holds: bool, otherwise: str) -> None:
        """Take in one rule; AssertionError if it does not hold."""
        super().require(holds, otherwise)
        assert holds, otherwise


class RuleCase(Case):
    """Each method `check_<sentence>(self, log, rng)` is a check.

    A mistake is caught if any of them fails, or raises, with it in the place of `self.numpy`.
    """

    def checks(self, settings: Settings) -> Iterator[Check]:
        """The methods in the order in which they are written, then the mistakes."""
        for title, method in self._written().items():
            yield Check(title, self._bound(settings, title, method))
        for name in self.mistakes:
            yield Check(f"catches[{name}]", self._catches(settings, name))

    def _written(self) -> dict[str, Callable[..., None]]:
        methods: dict[str, Callable[..., None]] = {}
        for cls in reversed(type(self).__mro__):
            methods |= {k: v for k, v in vars(cls).items() if k.startswith("check_")}
        return {k.removeprefix("check_").replace("_", " "): v for k, v in methods.items()}

    def _bound(
        self, settings: Settings, title: str, method: Callable[..., None]
    ) -> Callable[[Log], None]:
        return lambda log: method(self, log, self.rng(settings, title))

    def _catches(self, settings: Settings, name: str) -> Callable[[Log], None]:
        def run(log: Log) -> None:
            stand_in: Any = self.mistakes[name]
            stand_in = stand_in if isinstance(stand_in, type) else staticmethod(stand_in)
            wrong = type(type(self).__name__, (type(self),), {"numpy": stand_in})()
            caught = any(self._fails(wrong, settings, *entry) for entry in self._written().items())
            log.require(caught, f"the mistake {name!r} passes every check")

        return run

    def _fails(
        self, wrong: RuleCase, settings: Settings, title: str, method: Callable[..., None]
    ) -> bool:
        log = _FirstFailure()
        try:
            method(wrong, log, self.rng(settings, title))
        except Exception:
            return True
        return bool(log.failures)

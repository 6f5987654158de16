"""Cases whose checks are written out by hand: a loader's order, a loop's manners.

class TestDataLoader(RuleCase):
    numpy, torch = ours.DataLoader, theirs.DataLoader
    mistakes = {"no second permutation": ...}

    def check_the_order_is_torchs(self, log, rng): ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from parity_tests.harness.budget import Arrays, Known
from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.limits import called_alike
from parity_tests.harness.stand_ins import Place, said

Method = Callable[..., None]


class RuleCase(Case):
    """Each method `check_<sentence>(self, log, rng)` is a check.

    A mistake is caught if any of them fails, or raises, with it in the place of `self.numpy`. Two
    are told apart if what one of the checks says of them is not the same.
    """

    def checks(self, settings: Settings) -> Iterator[Check]:
        """The methods in the order in which they are written, then the stand-ins."""
        for title, method in self._written().items():
            yield Check(title, self._bound(settings, title, method))
        yield Check("called alike", partial(called_alike, self))
        yield from self.trials(settings)

    def places(self, settings: Settings) -> Iterator[Place]:
        """Every check is one."""
        for title, method in self._written().items():
            yield _Written(self, settings, title, method)

    def _written(self) -> dict[str, Method]:
        methods: dict[str, Method] = {}
        for cls in reversed(type(self).__mro__):
            methods |= {k: v for k, v in vars(cls).items() if k.startswith("check_")}
        return {k.removeprefix("check_").replace("_", " "): v for k, v in methods.items()}

    def _bound(self, settings: Settings, title: str, method: Method) -> Callable[[Log], None]:
        return lambda log: method(self, log, self.rng(settings, title))


class _Written(Place):
    """A check written by hand; what it says of a case is what is found there."""

    def __init__(self, case: RuleCase, settings: Settings, title: str, method: Method) -> None:
        self.name, self._case, self._settings, self._method = title, case, settings, method

    def run(self, case: RuleCase) -> Arrays:
        log, raised = Log(), ""
        try:
            self._method(case, log, self._case.rng(self._settings, self.name))
        except Exception as error:
            raised = said(error)
        return {"rules failed": np.array("\n".join([*map(said, log.failures), raised]).strip())}

    def measure(self) -> Known:
        return Known({"rules failed": np.array("")}, {"rules failed": []})

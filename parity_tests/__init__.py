"""The parity suite: cases by chapter, and the harness that derives every check from them.

    from parity_tests import assert_parity, compare

holds code of your own against torch; see `parity_tests.harness.compare.entry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity_tests.harness.compare.entry import Comparison, Uncomparable, assert_parity, compare

__all__ = ["Comparison", "Uncomparable", "assert_parity", "compare"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on demand: the package alone imports nothing
        from parity_tests.harness.compare import entry

        return getattr(entry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The harness: from one declaration to every check, from every check to one report."""

from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.function_case import FunctionParity
from parity_tests.harness.inputs import LAYOUTS, REGIMES, arrays, grid
from parity_tests.harness.module_case import ModuleParity
from parity_tests.harness.refusal import Refusal

__all__ = [
    "LAYOUTS",
    "REGIMES",
    "Case",
    "Check",
    "FunctionParity",
    "Log",
    "ModuleParity",
    "Refusal",
    "Settings",
    "arrays",
    "grid",
]

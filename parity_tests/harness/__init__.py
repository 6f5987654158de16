"""The harness: from one declaration to every check, from every check to one report."""

from parity_tests.harness.case import Case, Check, Log, Settings
from parity_tests.harness.function_case import FunctionParity
from parity_tests.harness.init_case import InitializerParity
from parity_tests.harness.inputs import LAYOUTS, REGIMES, arrays, grid
from parity_tests.harness.module_case import ModuleParity
from parity_tests.harness.refusal import Refusal
from parity_tests.harness.rule_case import RuleCase

__all__ = [
    "LAYOUTS",
    "REGIMES",
    "Case",
    "Check",
    "FunctionParity",
    "InitializerParity",
    "Log",
    "ModuleParity",
    "Refusal",
    "RuleCase",
    "Settings",
    "arrays",
    "grid",
]

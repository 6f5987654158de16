"""The harness: from one declaration to every check, from every check to one report.

Names are loaded when they are first asked for: `parity --help` need not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity_tests.harness.case import Case, Check, Log, Settings
    from parity_tests.harness.function_case import FunctionParity
    from parity_tests.harness.init_case import InitializerParity
    from parity_tests.harness.inputs import LAYOUTS, REGIMES, arrays, grid
    from parity_tests.harness.mistake import Mistake, as_functions
    from parity_tests.harness.module_case import ModuleParity
    from parity_tests.harness.optimizer_case import OptimizerParity
    from parity_tests.harness.refusal import Refusal
    from parity_tests.harness.rule_case import RuleCase
    from parity_tests.harness.scheduler_case import SchedulerParity
    from parity_tests.harness.training_case import TrainingParity

__all__ = [
    "LAYOUTS",
    "REGIMES",
    "Case",
    "Check",
    "FunctionParity",
    "InitializerParity",
    "Log",
    "Mistake",
    "ModuleParity",
    "OptimizerParity",
    "Refusal",
    "RuleCase",
    "SchedulerParity",
    "Settings",
    "TrainingParity",
    "arrays",
    "as_functions",
    "grid",
]

_MODULES = (
    "mistake",
    "case",
    "inputs",
    "refusal",
    "function_case",
    "init_case",
    "module_case",
    "optimizer_case",
    "rule_case",
    "training_case",
    "scheduler_case",
)
"""Where the names above are looked for, the light ones first."""


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = importlib.import_module(f"{__name__}.{module}")
            if name in vars(found):
                return vars(found)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Finding cases, by their files and by the names that people give them.

The files are the list: every class named Test* that is a Case, in <chapter>/test_*.py.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import traceback
from collections.abc import Sequence
from pathlib import Path

from parity_tests.harness.case import Case, Check, Settings
from parity_tests.harness.results import Technique

TEST_TOOLS = ("pytest", "hypothesis")


def discover(suite: str = "parity_tests", settings: Settings | None = None) -> list[Technique]:
    """Every technique of a suite, by chapter and file; one that cannot be loaded says why."""
    found: list[Technique] = []
    for folder in importlib.import_module(suite).__path__:
        for path in sorted(Path(folder).glob("*/test_*.py")):
            if not _may_hold_cases(path):
                continue
            chapter, stem = path.parent.name, path.stem.removeprefix("test_")
            module = f"{suite}.{chapter}.{path.stem}"
            try:
                cases = cases_of(module)
            except Exception as error:
                text = explain(error)
                if getattr(error, "name", "") in TEST_TOOLS:
                    text += "\n  the cases stand among tests: pip install 'written-twice[test]'"
                found.append(Technique(chapter, stem, stem, module, "", problem=text))
                continue
            found += [_technique(case, stem, settings or Settings()) for case in cases]
    return found


def cases_of(module: str) -> list[type[Case]]:
    """The cases that a module defines, in its order."""
    members = vars(importlib.import_module(module)).values()
    return [
        m
        for m in members
        if inspect.isclass(m)
        and issubclass(m, Case)
        and m.__module__ == module
        and m.__name__.startswith("Test")
    ]


SCORED = "passes[", "catches[", "tells mistakes apart"
"""How the names of checks begin that try the suite itself: for pytest, and for the score."""

LEFT_OUT = (
    "finite differences",  # the third witness
    *("memory layouts", "nothing handed in is changed", "nothing is moved", "allocates nothing"),
    *("overflow is silent", "the brackets are the papers"),
)
"""How the names of checks begin that a quick run leaves out, to compare the two sides and little
else."""


def checks_of(case: type[Case], settings: Settings) -> list[Check]:
    """The checks of a case in a run, none of which tries the suite; a quick run compares only."""
    checks = list(case().checks(settings))
    left_out = (*SCORED, *LEFT_OUT) if settings.quick else SCORED
    return [c for c in checks if not c.name.startswith(left_out)]


def _may_hold_cases(path: Path) -> bool:
    """Whether a class named Test* with a base stands in the file: others need not be imported."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError:
        return True  # so that the import says what is wrong
    return any(
        isinstance(node, ast.ClassDef) and node.name.startswith("Test") and node.bases
        for node in tree.body
    )


def _technique(case: type[Case], stem: str, settings: Settings) -> Technique:
    summary = vars(case).get("__doc__") or inspect.getdoc(case.numpy) or ""
    try:
        names, problem = tuple(str(c) for c in checks_of(case, settings)), ""
    except Exception as error:
        names, problem = (), explain(error)
    return Technique(
        chapter=case.chapter(),
        name=case.technique(),
        stem=stem,
        module=case.__module__,
        case=case.__name__,
        summary=summary.strip().split("\n")[0],
        checks=names,
        problem=problem,
    )


def select(techniques: Sequence[Technique], names: Sequence[str]) -> list[Technique]:
    """The techniques that the names mean; all of them for no names.

    A name is a technique, a chapter, a file's stem, or chapter/one of these. Case matters only
    where it makes the difference: "Dropout" is the technique, "dropout" also all in that file.

    Raises:
        LookupError: for the first name that means nothing; the name is its argument.
    """
    chosen: set[Technique] = set()
    for name in names:
        exact = [t for t in techniques if name in (t.name, f"{t.chapter}/{t.name}")]
        low = name.lower().removesuffix(".py").rstrip("/")
        chosen_here = exact or [t for t in techniques if low in _names(t)]
        if not chosen_here:
            raise LookupError(name)
        chosen.update(chosen_here)
    return [t for t in techniques if t in chosen or not names]


def _names(t: Technique) -> set[str]:
    own = {t.name.lower(), t.stem.lower(), f"test_{t.stem}".lower()}
    return {t.chapter.lower()} | own | {f"{t.chapter}/{name}".lower() for name in own}


def explain(error: BaseException) -> str:
    """What was raised, and the last few places it came through."""
    frames = traceback.extract_tb(error.__traceback__)[1:][-3:]  # the first is whoever caught it
    places = [f"  at {_short(f.filename)}:{f.lineno} in {f.name}" for f in reversed(frames)]
    return "\n".join([f"{type(error).__name__}: {error}", *places])


def _short(path: str) -> str:
    parts = Path(path).parts
    return "/".join(parts[-3:])

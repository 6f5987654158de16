"""The rules of the house: every technique stands in three places, and the places agree."""

import functools
import importlib
import inspect
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from parity_tests.harness.discovery import cases_of
from parity_tests.harness.signatures import incompatibilities

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("numpy_impl", "torch_impl")
TOP_LEVEL = {
    "LICENSE",
    "README.md",
    "examples",
    "numpy_impl",
    "parity_tests",
    "pyproject.toml",
    "torch_impl",
}


# ---- what stands where --------------------------------------------------------------------------


def files(side: str) -> list[str]:
    """Paths of the chapters' files below a side: layers/linear.py."""
    return sorted(p.relative_to(ROOT / side).as_posix() for p in (ROOT / side).glob("*/*.py"))


def twins() -> list[str]:
    """The files that stand on both sides, chapters' __init__ included."""
    return [p for p in files("numpy_impl") if (ROOT / "torch_impl" / p).exists()]


def load(side: str, path: str) -> ModuleType:
    """The module of a file; a failing import fails the test that asks for it."""
    name = f"{side}.{path.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    return importlib.import_module(name)


def public(module: ModuleType) -> list[str]:
    """The names that a module lists; a module without a list has none."""
    return list(getattr(module, "__all__", []))


def functional(name: str) -> bool:
    """Whether nn.functional is the place to look for it, rather than the chapter."""
    return hasattr(torch.nn.functional, name.removesuffix("_backward"))


def report(found: list[str]) -> None:
    assert not found, f"{len(found)} found:\n" + "\n".join(f"  {line}" for line in found)


@functools.cache
def covered() -> set[int]:
    """Identities of all objects that some case proves."""
    proved: set[int] = set()
    for path in (ROOT / "parity_tests").glob("*/test_*.py"):
        for case in cases_of(f"parity_tests.{path.parent.name}.{path.stem}"):
            backward = getattr(case, "backward", None)
            proved |= {id(x) for x in (case.numpy, backward, *case.covers) if x is not None}
    return proved


# ---- files and docstrings -----------------------------------------------------------------------


def test_every_file_stands_on_both_sides_and_has_cases() -> None:
    ours, theirs = files("numpy_impl"), files("torch_impl")
    found = [f"torch_impl/{p} is missing" for p in ours if p not in theirs]
    found += [f"numpy_impl/{p} is missing" for p in theirs if p not in ours]
    for path in sorted({*ours, *theirs}):
        chapter, name = path.split("/")
        cases = f"parity_tests/{chapter}/{name if name == '__init__.py' else f'test_{name}'}"
        found += [] if (ROOT / cases).exists() else [f"{cases} is missing"]
    deeper = [p for side in SIDES for p in (ROOT / side).glob("*/*/*.py")]
    found += [f"{p.relative_to(ROOT)} is deeper than chapter/technique" for p in deeper]
    report(found)


def test_the_top_level_holds_only_the_agreed_names() -> None:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    names = {name.split("/")[0] for name in listed.stdout.split("\0") if name}
    report(sorted(n for n in names - TOP_LEVEL if not n.startswith(".")))


# ---- names and signatures -----------------------------------------------------------------------


def test_twins_have_the_same_public_names() -> None:
    found = []
    for path in twins():
        ours, theirs = public(load("numpy_impl", path)), public(load("torch_impl", path))
        backward = {n for n in ours if n.endswith("_backward")}
        found += [f"{path}: only NumPy has {n}" for n in ours if n not in {*theirs, *backward}]
        found += [f"{path}: only torch has {n}" for n in theirs if n not in ours]
        found += [f"{path}: {n} has no {n.removesuffix('_backward')}" for n in sorted(backward)
                  if n.removesuffix("_backward") not in ours]  # fmt: skip
    report(found)


@pytest.mark.parametrize("side", SIDES)
def test_every_listed_name_exists_and_its_chapter_hands_it_on(side: str) -> None:
    found = []
    for path in files(side):
        module, chapter = load(side, path), load(side, path.split("/")[0] + "/__init__.py")
        found += [f"{side}/{path} has no __all__"] if not hasattr(module, "__all__") else []
        for name in public(module):
            if not hasattr(module, name):
                found.append(f"{side}/{path}: {name} is listed and does not exist")
            elif name not in public(chapter) and not functional(name):
                found.append(f"{chapter.__name__} does not list {name} of {path}")
    report(found)


def pairs() -> Iterator[tuple[str, object, object]]:
    """Everything that is called by one name on both sides, methods of our own classes included."""
    for path in twins():
        if path.endswith("__init__.py"):
            continue
        ours, theirs = load("numpy_impl", path), load("torch_impl", path)
        for name in public(ours):
            a, b = getattr(ours, name, None), getattr(theirs, name, None)
            if not (callable(a) and callable(b)):
                continue
            yield f"{path}: {name}", a, b
            if inspect.isclass(a) and inspect.isclass(b) and b.__module__.startswith("torch_impl"):
                for method in {**vars(a)}.keys() & {**vars(b)}.keys():
                    if not method.startswith("_") and inspect.isfunction(vars(a)[method]):
                        yield f"{path}: {name}.{method}", vars(a)[method], getattr(b, method)


def test_what_is_called_by_one_name_is_called_alike() -> None:
    report([f"{what}, {text}" for what, a, b in pairs() for text in incompatibilities(a, b)])


def test_every_public_name_has_a_case() -> None:
    found = []
    for path in files("numpy_impl"):
        module = load("numpy_impl", path)
        for name in public(module) if not path.endswith("__init__.py") else []:
            if id(getattr(module, name, None)) not in covered():
                found.append(f"{path}: {name}")
    report(found)


@pytest.mark.parametrize("side", SIDES)
def test_every_public_name_says_what_it_is(side: str) -> None:
    found = []
    for path in files(side):
        module = load(side, path)
        found += [] if module.__doc__ else [f"{side}/{path}"]
        for name in public(module):
            named = getattr(module, name, None)
            if getattr(named, "__module__", "").startswith(side) and callable(named):
                own = vars(named).get("__doc__") if inspect.isclass(named) else named.__doc__
                found += [] if own else [f"{side}/{path}: {name}"]
    report(found)


def test_the_readme_leads_to_every_technique() -> None:
    """Each file of numpy_impl, its twin and its cases have a link in the table."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [
        f"{side}/{chapter}/{prefix}{name}"
        for chapter, name in (path.split("/") for path in twins() if "__init__" not in path)
        for side, prefix in (("numpy_impl", ""), ("torch_impl", ""), ("parity_tests", "test_"))
    ]
    report([f"README.md has no link to {link}" for link in links if f"({link})" not in text])

"""One mutant under its tests, in a process of its own.

A worker loads torch and all else that is not this project's, once, and forks for each mutant: the
child loads the NumPy side, with the mutant in the place of its file, and runs the tests until the
first one fails. No file on disk is ever changed.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import resource
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATIENCE = 10.0, 5.0  # seconds, and times the tests' own time, before a mutant counts as hung
MEMORY = 8 << 30  # bytes of address space that a mutant may have


class Unsound(Exception):
    """The tests fail without any mutant."""


def killed(file: str, tests: tuple[str, ...], source: str) -> bool:
    """Whether the tests fail, or do not end, with this source in the place of the file."""
    seconds = _time_without(tests)
    return _fork(tests, PATIENCE[0] + PATIENCE[1] * seconds, (file, source))


_kills: collections.Counter[str] = collections.Counter()
"""How many mutants each test has killed: those that killed most run first."""


@functools.lru_cache
def _time_without(tests: tuple[str, ...]) -> float:
    """How long the tests take as they are. Loads what they load, for the forks to share."""
    with tempfile.NamedTemporaryFile("r") as modules:
        if _fork(tests, 600, modules=modules.name):
            raise Unsound(f"the tests fail as they stand: {' '.join(tests)}")
        names = modules.read().split()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the forks need not look through it again
    started = time.perf_counter()
    _fork(tests, 600)
    return time.perf_counter() - started


def _fork(
    tests: Sequence[str], seconds: float, mutant: tuple[str, str] | None = None, modules: str = ""
) -> bool:
    """Whether the tests fail, in a child that says which one did."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            _limit(seconds)
            if mutant:
                sys.meta_path.insert(0, _Finder(*mutant))
            status = _run(tests, theirs)
            if modules:
                Path(modules).write_text("\n".join(m for m in sys.modules if _foreign(m)))
            os._exit(status)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, encoding="utf-8") as pipe:
        name = pipe.read()
    failed = os.waitpid(child, 0)[1] != 0
    if name:
        _kills[name] += 1
    return failed


def _limit(seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests expect
    signal.alarm(math.ceil(seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"


def _run(tests: Sequence[str], pipe: int) -> int:
    import pytest

    class Plugin:
        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            items.sort(key=lambda item: -_kills[item.nodeid])

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                os.write(pipe, report.nodeid.encode())
                os._exit(1)

    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], [Plugin()]))


def _foreign(module: str) -> bool:
    """Whether a module comes from elsewhere, and may be loaded before the mutant is chosen."""
    file = getattr(sys.modules[module], "__file__", None) or ""
    ours = file.startswith(os.getcwd()) and "site-packages" not in file
    return not (ours or module.startswith(("_", "conftest", "xdist")))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module of ours in a mutant's source."""

    def __init__(self, file: str, source: str) -> None:
        self.file, self.source = file, source
        self.module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.module:
            return None
        loader = _Loader(name, os.path.abspath(self.file))
        loader.source = self.source
        return importlib.util.spec_from_file_location(name, loader.path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    source: str

    def get_code(self, fullname: str) -> types.CodeType:
        return compile(self.source, self.path, "exec", dont_inherit=True)

"""Mutants under their tests, each in a process of its own.

A worker loads torch and all else that is not this project's, and forks a pytest that loads the
NumPy side and collects its tests, once for many mutants. For each of them that forks again, gives
the mutated function its new code, and runs the tests until the first one fails, those that killed
most in the least time before it first. A mutant that is not inside a function, or in one that was
called while the tests were loaded, has a pytest of its own that loads it in the place of its file.
No file on disk is ever changed.
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
import json
import math
import os
import resource
import signal
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 5.0, 3.0  # seconds, and times the tests' own time, before a mutant counts as hung:
ASLEEP = 4  # of the processor's time, and this many times as long by the clock
MEMORY = 8 << 30  # bytes of address space that a mutant may have
OURS = "-k", "numpy_impl or not torch_impl"  # a test of the torch side alone kills nothing
KILLED, SURVIVED, UNSURE = "ksu"


class Unsound(Exception):
    """The tests fail without any mutant."""


def killed(file: str, tests: tuple[str, ...], sources: Sequence[str]) -> list[bool]:
    """Whether the tests fail, or do not end, with each source in the place of the file."""
    seconds = PATIENCE[0] + PATIENCE[1] * _time_without(tests)

    def child(say: Callable[[str], None]) -> None:
        _run(tests, _Swapper(file, sources, seconds, say))

    verdicts = list(_fork(child).ljust(len(sources), UNSURE))
    for i, source in enumerate(sources):
        if verdicts[i] == UNSURE:
            verdicts[i] = SURVIVED if _passes(tests, seconds, (file, source)) else KILLED
    return [verdict == KILLED for verdict in verdicts]


@functools.lru_cache
def _time_without(tests: tuple[str, ...]) -> float:
    """How much of the processor the tests take as they are.

    Loads what they load, for the forks to share, and notes how long each takes.
    """
    import pytest  # noqa: F401 - before the first fork, and what takes long to load
    import torch  # noqa: F401

    started = _spent()
    with tempfile.NamedTemporaryFile("r") as notes:
        if not _passes(tests, 600, notes=notes.name):
            raise Unsound(f"the tests fail as they stand: {' '.join(tests)}")
        noted = json.load(notes)
    _takes.update(noted["seconds"])
    seconds = _spent() - started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in noted["modules"]:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the forks need not look through it again
    return seconds


def _spent() -> float:
    """Seconds of the processor that ended children have had: other work does not lengthen them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_kills: collections.Counter[str] = collections.Counter()
"""How many mutants each test has killed."""
_takes: dict[str, float] = {}
"""How many seconds each test takes."""


def _worth(test: str) -> float:
    """How many mutants a test kills in a second, as far as is known."""
    return (1 + _kills[test]) / (0.01 + _takes.get(test, 0.0))


def _passes(
    tests: Sequence[str], seconds: float, mutant: tuple[str, str] | None = None, notes: str = ""
) -> bool:
    """Whether the tests pass in a pytest of their own."""

    def child(say: Callable[[str], None]) -> None:
        _limit(seconds)
        if mutant:
            sys.meta_path.insert(0, _Finder(*mutant))
        plugin = _Straight(say)
        passed = _run(tests, plugin) == 0
        if notes:
            noted = {"modules": list(filter(_foreign, sys.modules)), "seconds": plugin.took}
            Path(notes).write_text(json.dumps(noted))
        say(SURVIVED if passed else KILLED)

    said = _fork(child)
    if said[1:]:
        _kills[said[1:]] += 1
    return said == SURVIVED


def _fork(child: Callable[[Callable[[str], None]], None]) -> str:
    """What a child says before it ends."""
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            child(lambda text: None if os.write(theirs, text.encode()) else None)
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(process, 0)
    return said


def _limit(seconds: float) -> None:
    signal.alarm(math.ceil(ASLEEP * seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _run(tests: Sequence[str], plugin: object) -> int:
    import pytest

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests expect
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # or pytest itself would load what is called range_test.py, and never the mutant
    names = "-o", "python_files=test_*.py"
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *names, *OURS, *tests], [plugin]))


class _Straight:
    """A plugin for pytest: the tests that kill most first, and an end at the first failure."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.took: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.say(KILLED + report.nodeid)
            os._exit(0)
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: -_worth(item.nodeid))


class _Swapper(_Straight):
    """A plugin for pytest: in the place of the tests' run, one run for each mutant in a fork."""

    def __init__(
        self, file: str, sources: Sequence[str], seconds: float, say: Callable[[str], None]
    ) -> None:
        super().__init__(say)
        self.path, self.sources, self.seconds = os.path.abspath(file), sources, seconds
        self.called: set[tuple[str, int]] = set()
        sys.setprofile(self._note)

    def _note(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_filename == self.path:
            self.called.add(_name(frame.f_code))

    def pytest_runtestloop(self, session: Any) -> bool:
        sys.setprofile(None)
        functions = collections.defaultdict(list)
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == self.path:
                functions[_name(thing.__code__)].append(thing)
        original = self._compile(Path(self.path).read_text(encoding="utf-8"))
        for source in self.sources:
            try:
                changed = list(_changed(original, self._compile(source)))
            except (SyntaxError, _NotInAFunction):
                self.say(UNSURE)
                continue
            said = _fork(functools.partial(self._trial, session, functions, changed))
            _kills[said[1:]] += said.startswith(KILLED)
            seen = any(_name(old) in self.called for old, _ in changed)
            passed = UNSURE if seen or said == UNSURE else SURVIVED
            self.say(passed if said in (SURVIVED, UNSURE) else KILLED)
        return True

    def _compile(self, source: str) -> types.CodeType:
        return compile(source, self.path, "exec", dont_inherit=True)

    def _trial(
        self, session: Any, functions: Any, changed: Any, say: Callable[[str], None]
    ) -> None:
        self.say = say
        _limit(self.seconds)
        for old, new in changed:
            if not functions[_name(old)] or old.co_freevars != new.co_freevars:
                say(UNSURE)
                return
            for function in functions[_name(old)]:
                function.__code__ = new
        session.items.sort(key=lambda item: -_worth(item.nodeid))
        for item, following in zip(session.items, [*session.items[1:], None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        say(SURVIVED)


class _NotInAFunction(Exception):
    """Something differs that runs when the file is loaded."""


def _changed(
    old: types.CodeType, new: types.CodeType
) -> Iterator[tuple[types.CodeType, types.CodeType]]:
    """The outermost functions that differ, before and after."""
    if old.co_flags & 1 and _differ(old, new):  # a function's code, not a module's or a class's
        yield old, new
    elif _content(old) != _content(new):
        raise _NotInAFunction
    else:
        for a, b in zip(_inner(old), _inner(new)):
            yield from _changed(a, b)


def _differ(old: types.CodeType, new: types.CodeType) -> bool:
    inner = zip(_inner(old), _inner(new))
    return _content(old) != _content(new) or any(_differ(a, b) for a, b in inner)


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [const for const in code.co_consts if isinstance(const, types.CodeType)]


def _content(code: types.CodeType) -> tuple[Any, ...]:
    """All of a code object but where it stands in the file and what is inside it."""
    consts = [repr(c) for c in code.co_consts if not isinstance(c, types.CodeType)]
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_varnames
    inside = len(_inner(code)), code.co_names, code.co_freevars, code.co_cellvars, code.co_flags
    return code.co_name, code.co_code, consts, arguments, inside


def _name(code: types.CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


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

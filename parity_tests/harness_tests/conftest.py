"""Small suites of their own to run `parity` on: cases that agree, fail, raise and die."""

import contextlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from parity_tests.harness.cli import main

HEAD = """
import os, time
import numpy as np
from parity_tests.harness.budget import compare
from parity_tests.harness.case import Case, Check, Curve

class Doubling(Case):
    factor = 1.0
    def checks(self, settings):
        for dtype in settings.dtypes:
            def run(log, dtype=dtype):
                x = self.rng(settings, dtype).standard_normal(5)
                ours = lambda g: {"forward y": (2 * self.factor * g["x"]).astype(dtype)}
                theirs = lambda g: {"forward y": g["x"] + g["x"] * np.cos(g["x"] * 0)}
                log.compare(compare(ours, theirs, {"x": x}, dtype), "plain")
            yield Check(f"agrees[{dtype}]", run)
"""
AGREES = (
    HEAD
    + '''
class TestAgrees(Doubling):
    """Doubles what it is given."""
    factor = 1 + 2**-52
'''
)
FAILS = (
    AGREES
    + '''
class TestFails(Doubling):
    """Is off by one part in a hundred."""
    factor = 1.01

class TestRaises(Case):
    def checks(self, settings):
        for name in ("divides", "divides again"):
            yield Check(name, lambda log: 1 / 0)
        yield Check("exits", lambda log: exit(0))
        yield Check("compares nothing", lambda log: None)
        yield Check("warns", lambda log: log.require(np.log(np.zeros(1))[0] < 0, "no"))
        yield Check("holds", lambda log: log.require(True, ""))
        yield Check("breaks a rule", lambda log: log.require(1 > 2, "one is <not> above two"))

class TestCannotStart(Case):
    def checks(self, settings):
        raise KeyError("no such configuration")
'''
)
counter = itertools.count()


@dataclass
class Printed:
    """What one call of the command left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def write_suite(tmp_path, monkeypatch):
    """write_suite(chapter__file=source, ...) makes a package to discover; returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**sources):
        name = f"mini_suite_{next(counter)}"
        for place, source in sources.items():
            chapter, file = place.split("__")
            folder = Path(tmp_path, name, chapter)
            folder.mkdir(parents=True, exist_ok=True)
            (folder.parent / "__init__.py").touch()
            (folder / f"test_{file}.py").write_text(source)
        return name

    return write


@pytest.fixture
def parity(tmp_path, monkeypatch):
    """parity(suite, "run", ...) runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(suite, *argv):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(argv, suite)
            except SystemExit as stop:  # argparse
                status = int(stop.code or 0)
        return Printed(status, out.getvalue(), err.getvalue())

    return run

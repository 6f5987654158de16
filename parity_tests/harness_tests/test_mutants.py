"""Mutants: what is made of a file, which are killed, and what the record keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parity_tests.harness.mutants import record

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""Nothing to find here."""
from typing import TypeVar
__all__ = ["Scale"]
Kind = TypeVar("Kind", bound=str)
Names = dict[str, Kind]
class Scale:
    factor: float = 2.0
    @staticmethod
    def of(x: float = 0.0) -> float:
        if x < 0:
            raise ValueError("x must not be negative")
        return x * 2.0
'''
SCALE = """import math
def of(x):
    return x * 2.0 if x < 0 else x
def first(x):
    return x or 1
HALF = 3
ONE = first(0)
"""
TEST = """from scale_test import HALF, ONE, of
def test(): assert of(-3.0) == -6 and HALF == 3 and ONE == 1
"""
TRIAL = """
import json, sys
from parity_tests.harness.mutants import trial
source = open("scale_test.py").read()
verdicts = trial.killed("scale_test.py", ("test_scale.py",), [source.replace(*edit) for edit in (
    ("", ""), ("* 2.0", "/ 2.0"), ("* 2.0", "* 2.0 + None"), ("return x", "while True: x = x"),
    ("import", "no code"), ("x < 0", "x <= 0"), ("HALF = 3", "HALF = 4"), ("x or 1", "x or 2"))])
try:
    trial.killed("scale_test.py", ("test_wrong.py",), [source])
except trial.Unsound as error:
    verdicts.append(str(error))
print(json.dumps(verdicts))
"""


def test_mutants_reach_decorated_code_and_defaults_and_leave_names_and_wording_alone():
    make = pytest.importorskip(
        "parity_tests.harness.mutants.make",
        reason="mutmut is not installed: pip install -e '.[dev]'",
        exc_type=ImportError,
    )
    found = make.mutants_of(SOURCE)
    lines = [m.became for m in found]
    assert "factor: float = 3.0" in lines and "def of(x: float = 1.0) -> float:" in lines
    assert "return x / 2.0" in lines and "raise ValueError(None)" in lines
    assert not any("XX" in line for line in lines)
    assert {m.at for m in found} == {"Scale", "Scale.of"}
    assert len({m.source for m in found}) == len(found) == len(set(found))


def test_a_mutant_dies_where_its_tests_fail_or_do_not_end(tmp_path):
    (tmp_path / "scale_test.py").write_text(SCALE)  # by its name pytest's to load, as range_test.py
    (tmp_path / "test_scale.py").write_text(TEST)
    (tmp_path / "test_wrong.py").write_text("def test(): assert False")
    patience = "trial.PATIENCE = 1.0, 1.0\nsource ="
    done = subprocess.run(
        [sys.executable, "-c", TRIAL.replace("source =", patience, 1)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    *verdicts, unsound = json.loads(done.stdout)
    assert verdicts == [False, True, True, True, True, False, True, True], done.stderr
    assert unsound == "the tests fail as they stand: test_wrong.py"


def test_the_record_keeps_the_reasons_of_mutants_that_survive_again(tmp_path, monkeypatch):
    from parity_tests.harness.mutants.record import Found, Survivor

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(record, "PATH", tmp_path / "mutants.json")
    file = "numpy_impl/layers/linear.py"
    again, new = Survivor("f", "x > 0", "x >= 0"), Survivor("f", "x + 1", "x + 2")
    assert record.keep(file, 9, [again], "a tool") == Found(record.fingerprint(file), 9, 8, [again])
    text = (tmp_path / "mutants.json").read_text()
    reason = text.replace('"became": "x >= 0"', '"became": "x >= 0", "why": "0 is 0"')
    (tmp_path / "mutants.json").write_text(reason)
    kept = record.keep(file, 9, [again, new], "a tool")
    assert kept.unexplained == [new] and kept.survivors[0].why == "0 is 0" and kept.killed == 7
    assert record.read() == {file: kept}

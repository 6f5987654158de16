"""What became of the mutants of each file: `parity_tests/mutants.json`.

A survivor whose entry has a "why" is equivalent: no input can tell it from the original. The
reasons are written by hand into the record, and a new run keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity_tests.harness.mutants.make import Mutant

PATH = Path("parity_tests/mutants.json")


@dataclass
class Survivor:
    """A mutant that passes the tests; `why` says why it must, if it is equivalent."""

    at: str
    was: str
    became: str
    why: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by; a line number would not outlive the next edit."""
        return self.at, self.was, self.became


@dataclass
class Found:
    """One file: its mutants, how many the tests killed, and which passed.

    `of` is a hash of the file, by which a record that is out of date is known.
    """

    of: str
    mutants: int
    killed: int
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Survivor]:
        """The survivors that nobody has called equivalent."""
        return [s for s in self.survivors if not s.why]


def tests_of(file: str) -> tuple[str, ...]:
    """The tests that must kill the mutants of a NumPy file: its mirror, and the frame's own."""
    inner = Path(file).relative_to("numpy_impl")
    mirror = Path("parity_tests", inner.parent, f"test_{inner.name}")
    own = [mirror.as_posix()] if mirror.exists() else []
    return (*own, *FRAME.get(inner.as_posix(), ()))


FRAME = {
    "module.py": (
        "parity_tests/layers/test_container.py",
        "parity_tests/layers/test_linear.py",
    ),
    "random.py": (
        "parity_tests/regularization/test_dropout.py",
        "parity_tests/initialization/test_uniform_normal.py",
    ),
    "optimization/optimizer.py": ("parity_tests/optimization/test_sgd.py",),
    "mt19937.py": ("parity_tests/test_random.py",),
    "exact_arithmetic.py": ("parity_tests/test_random.py",),
}
"""Files that other techniques stand on are also tried by theirs; what the generator is made of has
no test but the generator's."""


def files() -> list[str]:
    """The NumPy files that have tests of their own: front doors hold nothing but names."""
    found = (path.as_posix() for path in sorted(Path("numpy_impl").rglob("*.py")))
    return [file for file in found if tests_of(file)]


def fingerprint(file: str) -> str:
    """A hash of a file."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]


def read() -> dict[str, Found]:
    """The record, by file; empty where there is none yet."""
    if not PATH.exists():
        return {}
    data = json.loads(PATH.read_text(encoding="utf-8"))
    return {
        file: Found(**{**entry, "survivors": [Survivor(**s) for s in entry["survivors"]]})
        for file, entry in data["files"].items()
    }


def keep(file: str, mutants: int, survived: Sequence[Mutant | Survivor], tool: str) -> Found:
    """Write what a run found into the record, with the reasons that were known before."""
    known = read()
    old = known[file].survivors if file in known else []
    reasons = {s.key: s.why for s in old}
    survivors = [Survivor(m.at, m.was, m.became) for m in survived]
    for survivor in survivors:
        survivor.why = reasons.get(survivor.key, "")
    known[file] = Found(fingerprint(file), mutants, mutants - len(survivors), survivors)
    _write(known, tool)
    return known[file]


def _write(known: dict[str, Found], tool: str) -> None:
    entries: dict[str, Any] = {}
    for file in sorted(known):
        entry = asdict(known[file])
        for survivor in entry["survivors"]:
            if not survivor["why"]:
                del survivor["why"]
        entries[file] = entry
    text = json.dumps({"tool": tool, "files": entries}, indent=1, ensure_ascii=False) + "\n"
    PATH.write_text(text, encoding="utf-8")

"""What a search has tried, in memory and in a file that survives whatever happens to the process.

The file is one JSON object a line: first what is searched and how, then one trial a line, flushed
to the disk before the search goes on. A line without its end was cut off while it was written, and
counts as not written. The file is only ever read as JSON: nothing in it is executed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from numpy_impl.tuning.space import Config, SearchSpace

__all__ = ["Study", "Trial"]

Direction = Literal["minimize", "maximize"]
VERSION = 1


@dataclass(frozen=True)
class Trial:
    """One config and what came of it.

    `seed` is what the side's generator is seeded with before the objective is called; number,
    config, seed and budget are fixed before anything runs. A trial that raised, or gave no finite
    number, has no score but an `error`. `seconds` is what the objective took.
    """

    number: int
    config: Config
    seed: int
    budget: int | None = None
    score: float | None = None
    error: str | None = None
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether it was run."""
        return self.score is not None or self.error is not None


class Study:
    """The trials of one search, by number.

        study = Study("random_search", space, path="study.jsonl")    goes on if the file exists
        study = Study.load("study.jsonl")                            only to look at

    Args:
        search: the name of the search.
        space: what is searched.
        direction: whether "minimize" or "maximize" is better.
        seed: of the search.
        settings: what else decides which trials are run, in plain values.
        path: where each trial is written; None keeps them in memory.

    Raises:
        ValueError: the file holds another study, or is no study at all; it is left as it is.
    """

    def __init__(
        self,
        search: str,
        space: SearchSpace,
        direction: Direction = "minimize",
        seed: int = 0,
        settings: dict[str, Any] | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        if direction not in ("minimize", "maximize"):
            raise ValueError(f'direction must be "minimize" or "maximize", got {direction!r}')
        self.search, self.space, self.direction, self.seed = search, space, direction, seed
        self.settings = json.loads(json.dumps(settings or {}))
        self.path = None if path is None else Path(path)
        self._trials: dict[int, Trial] = {}
        if self.path is not None:
            self._open(self.path)

    @property
    def trials(self) -> list[Trial]:
        """What has been run, in the order of the numbers."""
        return [self._trials[number] for number in sorted(self._trials)]

    @property
    def best(self) -> Trial:
        """The trial with the best score, the first of equals.

        Where there are budgets, of those with the largest one: less training is no fair rival.

        Raises:
            ValueError: no trial has a score.
        """
        scored = [t for t in self.trials if t.score is not None]
        if not scored:
            failed = next((f", the first with: {t.error}" for t in self.trials), "")
            raise ValueError(f"no trial has a score; {len(self.trials)} failed{failed}")
        most = max(t.budget or 0 for t in scored)
        return min((t for t in scored if (t.budget or 0) == most), key=self.loss)

    def loss(self, trial: Trial) -> float:
        """The score turned so that less is better; infinite for a trial that failed."""
        if trial.score is None:
            return math.inf
        return trial.score if self.direction == "minimize" else -trial.score

    def planned(self, trial: Trial) -> Trial:
        """The trial as it was run, if it was."""
        return self._trials.get(trial.number, trial)

    def add(self, trial: Trial) -> None:
        """Take in a trial that was run, and write it down before anything else happens."""
        self._trials[trial.number] = trial
        if self.path is not None:
            self._append(self.path, asdict(trial))

    def table(self, top: int | None = None) -> str:
        """The trials as text, best first; those with the largest budget before the others."""
        order = sorted(self.trials, key=lambda t: (-(t.budget or 0), self.loss(t), t.number))
        budgets = any(t.budget is not None for t in order)
        head = ["trial", *(["budget"] if budgets else []), "score", *self.space]
        rows = [head]
        for t in order[:top]:
            values = [_text(t.config[name]) if name in t.config else "-" for name in self.space]
            score = "failed" if t.score is None else _text(t.score)
            budget = [_text(t.budget)] if budgets else []
            rows.append([str(t.number), *budget, score, *values])
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths)) for row in rows]
        errors = [f"trial {t.number} failed: {t.error}" for t in order[:top] if t.error]
        return "\n".join(lines + errors)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Study:
        """The study in a file, to look at: its file is not written to.

        Raises:
            ValueError: the file is no study.
        """
        lines = Path(path).read_bytes().split(b"\n")
        head = _object(lines[0], path, 1)
        if head.get("study") != VERSION or len(lines) < 2:
            raise ValueError(f"{path} is no study: its first line is {_brief(lines[0])}")
        try:
            space = SearchSpace.from_description(head["space"])
            known = {k: head[k] for k in ("search", "direction", "seed", "settings")}
            study = cls(space=space, **known)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} is no study: {error}") from None
        study._take(lines[1:-1], path)
        return study

    # ---- the file -----------------------------------------------------------------------------

    def _header(self) -> dict[str, Any]:
        names = ("search", "direction", "seed", "settings")
        described = {"space": self.space.describe()}
        header = {"study": VERSION} | {name: getattr(self, name) for name in names} | described
        found: dict[str, Any] = json.loads(_line(header))
        return found

    def _open(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        head = _line(self._header())
        whole, _, torn = content.rpartition(b"\n")
        if not whole:
            if not head.startswith(torn):
                raise ValueError(f"{path} is no study: it starts with {_brief(torn)}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            self._append(path, self._header())
            return
        first, *lines = whole.split(b"\n")
        found, wanted = _object(first, path, 1), self._header()
        if "study" not in found:
            raise ValueError(f"{path} is no study: it starts with {_brief(first)}")
        for name in wanted:
            if found.get(name) != wanted[name]:
                raise ValueError(
                    f"{path} is another study: its {name} is {json.dumps(found.get(name))}, "
                    f"this one's {json.dumps(wanted[name])}; give another path, or remove the file"
                )
        self._take(lines, path)
        if torn:
            os.truncate(path, len(content) - len(torn))

    def _take(self, lines: Iterable[bytes], path: Any) -> None:
        names = {f.name for f in fields(Trial)}
        for number, line in enumerate(lines, 2):
            entry = _object(line, path, number)
            try:
                new = isinstance(entry.get("number"), int) and entry["number"] not in self._trials
                if entry.keys() != names or not new:
                    raise ValueError("not a trial, or one that stands there already")
                trial = Trial(**entry)
                self.space.check(trial.config)
                scored = isinstance(trial.score, float) and math.isfinite(trial.score)
                if scored == isinstance(trial.error, str):
                    raise ValueError("a trial has a score or an error")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}: {_brief(line)}") from None
            self._trials[trial.number] = trial

    def _append(self, path: Path, entry: dict[str, Any]) -> None:
        with path.open("ab", buffering=0) as file:
            file.write(_line(entry))
            os.fsync(file.fileno())


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def _object(line: bytes, path: Any, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no study: line {number} is {_brief(line)}")
    return found


def _brief(line: bytes) -> str:
    text = repr(line[:60].decode(errors="replace"))
    return text + ("..." if len(line) > 60 else "")


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)

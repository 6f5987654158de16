"""Studies: the same file from both sides, whole after any cut, and never another's."""

import itertools
import os
import pickle
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from numpy_impl.tuning import parameters as ours_p
from numpy_impl.tuning import space as ours_s
from numpy_impl.tuning import study as ours
from parity_tests.harness import Log, Mistake, RuleCase
from parity_tests.harness.refusal import refused
from torch_impl.tuning import parameters as theirs_p
from torch_impl.tuning import space as theirs_s
from torch_impl.tuning import study as theirs

CONFIGS = [
    {"lr": 0.01, "kind": "a"},
    {"lr": 0.1, "kind": "b", "depth": 2},
    {"lr": 0.5, "kind": "a"},
]


def trials(side):
    """A good one, a failure, a better one with more budget, a worse one with as much."""
    return [
        side.Trial(0, CONFIGS[0], 7, 1, score=0.1, seconds=0.25),
        side.Trial(2, CONFIGS[1], 9, 3, error='ValueError: a "quoted"\nline', seconds=0.5),
        side.Trial(1, CONFIGS[1], 8, 3, score=0.3, seconds=0.125),
        side.Trial(3, CONFIGS[2], 7, 3, score=0.5, seconds=1.0),
    ]


def space(p, s):
    return s.SearchSpace({
        "lr": p.LogUniform(1e-3, 1.0),
        "kind": p.Choice(["a", "b"]),
        "depth": s.Conditional(p.Integer(1, 4), "kind", ["b"]),
    })  # fmt: skip


SPACES = {ours: space(ours_p, ours_s), theirs: space(theirs_p, theirs_s)}


class FailureIsZero(ours.Study):
    def loss(self, trial):
        return super().loss(trial) if trial.score is not None else 0.0


class AlwaysMinimized(ours.Study):
    def loss(self, trial):
        return float("inf") if trial.score is None else trial.score


class AnyBudget(ours.Study):
    @property
    def best(self):
        return min((t for t in self.trials if t.score is not None), key=self.loss)


class TornLineKept(ours.Study):
    """Goes on writing behind a line without its end."""

    def _open(self, path):
        torn = b""
        if path.exists():
            content = path.read_bytes()
            torn = content[content.rfind(b"\n") + 1 :]
        super()._open(path)
        if torn and path.read_bytes().endswith(b"\n"):
            path.write_bytes(path.read_bytes() + torn)


class WrittenAtTheEnd(ours.Study):
    """Trials are kept in memory until there are four."""

    def add(self, trial):
        path, self.path = self.path, None
        super().add(trial)
        self.path = path
        if path is not None and len(self._trials) == 4:
            for held in self._trials.values():
                self._append(path, ours.asdict(held))


class AnyStudyWillDo(ours.Study):
    """What is in the file is taken as it is."""

    def _header(self):
        path = self.path
        if path is not None and path.exists() and path.read_bytes().count(b"\n"):
            found: dict = ours.json.loads(path.read_bytes().split(b"\n")[0])
            return found
        return super()._header()


class TestStudy(RuleCase):
    numpy, torch = ours.Study, theirs.Study
    mistakes = {
        "a failure scores 0": Mistake(
            FailureIsZero,
            "Whoever starts from score = 0 and fills it in if all goes well.",
            "The config that crashes wins.",
        ),
        "direction ignored": Mistake(
            AlwaysMinimized,
            "The guide's searches, which are written for a loss.",
            "Searched for the highest accuracy, the lowest is found.",
        ),
        "small budgets compete": Mistake(
            AnyBudget,
            "Whoever takes the minimum over all trials.",
            "A lucky score after one epoch beats what was trained to the end.",
        ),
        "a torn line kept": Mistake(
            TornLineKept,
            "Whoever opens the file to append and writes on.",
            "After a crash two trials stand in one line, and the study cannot be read.",
        ),
        "written at the end": Mistake(
            WrittenAtTheEnd,
            "The guide's searches, and whoever pickles the results after the loop.",
            "A crash in the last hour costs the whole night.",
        ),
        "any file will do": Mistake(
            AnyStudyWillDo,
            "Whoever resumes wherever a file is.",
            "Trials of two searches are mixed, and the best one belongs to the other.",
        ),
    }

    def places(self, settings):
        """Without waiting for the disk, whose order of writing no check here can see."""
        for place in super().places(settings):
            place.run = mock.patch("os.fsync", lambda fd: None)(place.run)  # type: ignore[method-assign]
            yield place

    def opened(self, side, path=None, **changes):
        make = type(self).numpy if side is ours else theirs.Study
        told = {"search": "s", "space": SPACES[side], "direction": "minimize", "seed": 3}
        return make(**told | {"settings": {"eta": 3}, "path": path} | changes)

    def check_both_write_the_same_bytes_and_read_each_other(self, log, rng):
        with tempfile.TemporaryDirectory() as name:
            folder, content = Path(name), []
            for side in (ours, theirs):
                path = folder / "deep" / side.__name__
                study = self.opened(side, path)
                for t in trials(side):
                    study.add(t)
                    lines = path.read_bytes().count(b"\n")
                    written = lines == 1 + len(study.trials)
                    log.require(written, f"{lines} lines after {len(study.trials)} trials")
                content.append(path.read_bytes())
            log.require(content[0] == content[1], f"{content[0]!r}\n{content[1]!r}")
            for side, other in ((ours, theirs), (theirs, ours)):
                study = self.opened(side, folder / "deep" / other.__name__)
                log.require(study.trials == sorted(trials(side), key=lambda t: t.number), "trials")
                loaded = type(study).load(folder / "deep" / other.__name__)
                log.require(loaded.trials == study.trials, "loaded otherwise")
                log.require(loaded.table() == study.table(), "another table")

    def check_a_file_that_was_cut_goes_on(self, log, rng):
        with tempfile.TemporaryDirectory() as name:
            self.cut(log, Path(name) / "study.jsonl", 61)

    def cut(self, log, path, step):
        """The file broken off after every so many bytes, and around the ends of its lines."""
        study = self.opened(ours, path)
        for t in trials(ours)[:2]:
            study.add(t)
        whole = path.read_bytes()
        ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
        cuts = {*range(0, len(whole), step), *(end + i for end in ends for i in (-1, 0))}
        for side, n in itertools.product((ours, theirs), sorted(cuts)):
            path.write_bytes(whole[:n])
            study = self.opened(side, path)
            kept = max(sum(end <= n for end in ends) - 1, 0)
            log.require(len(study.trials) == kept, f"cut at {n}: {len(study.trials)} trials")
            if step == 1 and n % 5:
                continue
            study.add(trials(side)[3])
            again = self.opened(side, path)
            log.require(again.trials == study.trials, f"cut at {n}: not read back")

    def check_another_study_or_file_is_refused_and_left_alone(self, log, rng):
        with tempfile.TemporaryDirectory() as name:
            path, lit = Path(name) / "study.jsonl", Path(name) / "executed"
            for side, p, s in ((ours, ours_p, ours_s), (theirs, theirs_p, theirs_s)):
                path.unlink(missing_ok=True)
                study = self.opened(side, path)
                study.add(trials(side)[0])
                kept = path.read_bytes()
                other = s.SearchSpace({"lr": p.LogUniform(1e-3, 1.0)})
                changes = [("search", "t"), ("seed", 4), ("direction", "maximize")]
                changes += [("settings", {"eta": 2}), ("space", other)]
                for what, value in changes:
                    said = refused(partial(self.opened, side, path, **{what: value}))
                    clear = f"another study: its {what} is" in str(said)
                    log.require(clear, f"{what}: {said}")
                    log.require(path.read_bytes() == kept, f"{what}: the file was changed")

                class Bomb:
                    def __reduce__(self):
                        return os.mkdir, (str(lit),)

                head, line = kept.splitlines(keepends=True)
                for content, words in (
                    (b"a diary", "is no study: it starts with 'a diary'"),
                    (b"a diary\n", "line 1 is 'a diary'"),
                    (b'{"loss": 1}\n', "is no study"),
                    (pickle.dumps(Bomb()), "is no study"),
                    (head + b"{torn}\n" + line, "line 2 is '{torn}'"),
                    (head + line + line, "line 3: not a trial, or one that stands there"),
                    (head + line.replace(b"0.01", b"9.0"), "lr: wanted a number from 0.001"),
                    (head + line.replace(b"0.1,", b"null,"), "a score or an error"),
                    (head + line.replace(b'"score"', b'"points"'), "line 2: not a trial"),
                ):
                    path.write_bytes(content)
                    said = refused(partial(self.opened, side, path))
                    log.require(words in str(said), f"{content[:40]!r}: {said}")
                    log.require(path.read_bytes() == content, f"{content[:40]!r} was changed")
                log.require(not lit.exists(), "something in the file was executed")

    def check_the_best_has_the_largest_budget_and_a_score(self, log, rng):
        for side in (ours, theirs):
            for direction, number in (("minimize", 1), ("maximize", 3)):
                study = self.opened(side, direction=direction)
                for t in trials(side):
                    study.add(t)
                log.require(study.best.number == number, f"{direction}: {study.best}")
                order = [line.split()[0] for line in study.table().splitlines()[1:5]]
                wanted = ["1", "3", "2", "0"] if direction == "minimize" else ["3", "1", "2", "0"]
                log.require(order == wanted, f"{direction}: the table has {order}")
            study = self.opened(side)
            study.add(trials(side)[1])
            said = str(refused(partial(getattr, study, "best")))
            log.require("no trial has a score; 1 failed, the first with: Val" in said, said)
        said = str(refused(partial(self.opened, ours, direction="down")))
        log.require('"minimize" or "maximize", got \'down\'' in said, said)


class NeverFinished(ours.Trial):
    """A failed trial counts as not run."""

    @property
    def finished(self):
        return self.score is not None


class TestTrial(RuleCase):
    numpy, torch = ours.Trial, theirs.Trial
    mistakes = {
        "a failure counts as not run": Mistake(
            NeverFinished,
            "Whoever asks whether there is a score.",
            "A study that is resumed runs into the same crash again, for ever.",
        )
    }

    def check_it_is_finished_with_a_score_or_an_error(self, log, rng):
        for side in (type(self).numpy, theirs.Trial):
            states = [side(0, {}, 1), side(0, {}, 1, score=0.0), side(0, {}, 1, error="no")]
            log.require([t.finished for t in states] == [False, True, True], f"{states}")


def test_a_file_cut_at_every_byte_goes_on(tmp_path):
    log = Log()
    with mock.patch("os.fsync"):
        TestStudy().cut(log, tmp_path / "study.jsonl", 1)
    assert log.rules > 800 and not log.failures


@pytest.mark.parametrize("side", [ours, theirs])
def test_each_trial_is_on_the_disk_before_the_search_goes_on(tmp_path, side):
    study = TestStudy().opened(side, tmp_path / "study.jsonl")
    for n, t in enumerate(trials(side)):
        with mock.patch("os.fsync") as synced:
            study.add(t)
        assert synced.call_count == 1, f"trial {n}"


def test_the_table_reads_well():
    study = ours.Study("s", SPACES[ours])
    for t in trials(ours):
        study.add(t)
    assert study.table(top=3).splitlines() == [
        "trial  budget   score   lr  kind  depth",
        "    1       3     0.3  0.1     b      2",
        "    3       3     0.5  0.5     a      -",
        "    2       3  failed  0.1     b      2",
        'trial 2 failed: ValueError: a "quoted"',
        "line",
    ]

"""Studies: the same file from both sides, whole after any cut, and never another's."""

import itertools
import json
import os
import pickle
import tempfile
from dataclasses import FrozenInstanceError
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


BOTH = pytest.mark.parametrize("side", [ours, theirs])


@BOTH
def test_each_trial_is_on_the_disk_before_the_search_goes_on(tmp_path, side):
    """When the system is told to write, the line is with it, whole, and it is told once."""
    path = tmp_path / "study.jsonl"
    study = TestStudy().opened(side, path)
    for n, t in enumerate(trials(side)):
        written: list[tuple[bool, int]] = []

        def told(fd, written=written):
            written.append((os.path.samestat(os.fstat(fd), path.stat()), lines_of(path)))

        with mock.patch("os.fsync", told):
            study.add(t)
        assert written == [(True, 2 + n)], f"trial {n}"


def lines_of(path):
    return path.read_bytes().count(b"\n")


@BOTH
def test_the_table_reads_well(side):
    study = side.Study("s", SPACES[side])
    for t in trials(side):
        study.add(t)
    assert study.table(top=3).splitlines() == [
        "trial  budget   score   lr  kind  depth",
        "    1       3     0.3  0.1     b      2",
        "    3       3     0.5  0.5     a      -",
        "    2       3  failed  0.1     b      2",
        'trial 2 failed: ValueError: a "quoted"',
        "line",
    ]


@BOTH
def test_a_table_without_budgets_has_no_such_column_and_numbers_six_digits(side):
    study = side.Study("s", SPACES[side], "maximize")
    for number, score in enumerate((1 / 3, 1234567.0, 1 / 3)):
        study.add(side.Trial(number, {"lr": 0.123456789, "kind": "a"}, 5, score=score))
    assert study.table().splitlines() == [
        "trial        score        lr  kind  depth",
        "    1  1.23457e+06  0.123457     a      -",
        "    0     0.333333  0.123457     a      -",
        "    2     0.333333  0.123457     a      -",
    ]


@BOTH
def test_what_is_not_said_is_as_documented(side):
    assert side.Trial(4, {}, 6) == side.Trial(4, {}, 6, None, None, None, 0.0)
    study = side.Study("s", SPACES[side])
    assert (study.direction, study.seed, study.settings, study.path) == ("minimize", 0, {}, None)
    assert study.trials == []


@BOTH
def test_a_trial_cannot_be_changed(side):
    with pytest.raises(FrozenInstanceError):
        side.Trial(0, {}, 1).score = 2.0


@BOTH
def test_a_trial_is_as_it_was_run_if_it_was(side):
    study = side.Study("s", SPACES[side])
    planned, run = side.Trial(4, CONFIGS[0], 6), side.Trial(4, CONFIGS[0], 6, score=1.0)
    assert study.planned(planned) is planned
    study.add(run)
    assert study.planned(planned) is run


@BOTH
def test_without_a_budget_is_with_less_than_any(side):
    study = side.Study("s", SPACES[side])
    study.add(side.Trial(0, CONFIGS[0], 1, score=0.1))
    assert study.best.number == 0
    study.add(side.Trial(1, CONFIGS[0], 1, budget=1, score=0.5))
    assert study.best.number == 1
    assert [line.split()[:3] for line in study.table().splitlines()] == [
        ["trial", "budget", "score"],
        ["1", "1", "0.5"],
        ["0", "None", "0.1"],
    ]


@BOTH
def test_of_equal_scores_the_first_is_best_and_without_any_the_reason_is_told(side):
    study = side.Study("s", SPACES[side])
    with pytest.raises(ValueError, match="^no trial has a score; 0 failed$"):
        _ = study.best
    study.add(side.Trial(3, CONFIGS[0], 1, error="ValueError: no"))
    study.add(side.Trial(2, CONFIGS[0], 1, error="KeyError: 'lr'"))
    with pytest.raises(ValueError, match="score; 2 failed, the first with: KeyError: 'lr'$"):
        _ = study.best
    for number in (6, 5):
        study.add(side.Trial(number, CONFIGS[0], 1, score=0.5))
    assert study.best.number == 5


# ---- files --------------------------------------------------------------------------------------


def written(side, path, **changes):
    """The bytes of a study of all the trials."""
    study = TestStudy().opened(side, path, **changes)
    for t in trials(side):
        study.add(t)
    return path.read_bytes()


@BOTH
def test_a_file_says_what_is_searched_and_how(tmp_path, side):
    head, first, *_ = written(side, tmp_path / "study.jsonl").splitlines()
    assert json.loads(head) == {
        "study": 1,
        "search": "s",
        "direction": "minimize",
        "seed": 3,
        "settings": {"eta": 3},
        "space": json.loads(json.dumps(SPACES[side].describe())),
    }
    assert json.loads(first) == {
        "number": 0,
        "config": {"lr": 0.01, "kind": "a"},
        "seed": 7,
        "budget": 1,
        "score": 0.1,
        "error": None,
        "seconds": 0.25,
    }


@BOTH
def test_a_study_is_written_where_it_shall_be(tmp_path, side):
    """Folders are made, those there are will do, and so does an empty file."""
    for path in (tmp_path / "a" / "b" / "c", tmp_path / "a" / "b" / "d", tmp_path / "empty"):
        if path.name == "empty":
            path.touch()
        study = TestStudy().opened(side, os.fspath(path))
        assert study.path == path and lines_of(path) == 1


@BOTH
def test_what_json_has_no_word_for_is_not_written(tmp_path, side):
    path = tmp_path / "study.jsonl"
    study = TestStudy().opened(side, path)
    kept = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        study.add(side.Trial(0, CONFIGS[0], 1, score=float("nan")))
    assert path.read_bytes() == kept


@BOTH
def test_a_file_is_looked_at_and_left_as_it_is(tmp_path, side):
    """Also one whose last line was cut off."""
    path = tmp_path / "study.jsonl"
    whole = written(side, path, direction="maximize", settings={"etas": (3, 4)})
    assert TestStudy().opened(side, settings={"etas": (3, 4)}).settings == {"etas": [3, 4]}
    for content, count in ((whole, 4), (whole[:-1], 3), (whole[: whole.index(b"\n") + 1], 0)):
        path.write_bytes(content)
        study = side.Study.load(os.fspath(path))
        known = study.search, study.direction, study.seed, study.settings, study.path
        assert known == ("s", "maximize", 3, {"etas": [3, 4]}, None)
        assert list(study.space.items()) == list(SPACES[side].items())
        assert study.trials == sorted(trials(side), key=lambda t: t.number)[: len(study.trials)]
        assert len(study.trials) == count
        study.add(side.Trial(9, CONFIGS[0], 1, score=0.0))
        assert path.read_bytes() == content


def changed(line, **entries):
    """A line of a study with other entries, or without them where they are `...`."""
    entry = json.loads(line) | entries
    return json.dumps({k: v for k, v in entry.items() if v is not ...}).encode()


@BOTH
def test_a_file_that_cannot_be_is_refused_and_shown(tmp_path, side):
    """A dot at the end of what is wanted: nothing more is said."""
    path = tmp_path / "study.jsonl"
    look, go_on = side.Study.load, partial(TestStudy().opened, side)
    head, *lines = written(side, path).splitlines()
    later = changed(head, study=2)
    for opened, content, words in (
        (look, later + b"\n", f"no study: its first line is '{later[:60].decode()}'...."),
        (look, head, f"no study: its first line is '{head[:60].decode()}'...."),
        (look, b"{}\n", "no study: its first line is '{}'."),
        (look, b"[1]\n", "no study: line 1 is '[1]'."),
        (look, changed(head, space={}) + b"\n", "no study: a search space wants at least one"),
        (look, changed(head, direction="up") + b"\n", 'no study: direction must be "minimize"'),
        (look, changed(head, seed=...) + b"\n", "no study: 'seed'."),
        (go_on, later + b"\n", "another study: its study is 2, this one's 1; give another path"),
        (go_on, changed(head, seed=4) + b"\n", "another study: its seed is 4, this one's 3; "),
        (go_on, changed(head, seed=...) + b"\n", "another study: its seed is null, this one's 3; "),
        (go_on, changed(head, study=...) + b"\n", """no study: it starts with '{"search": "s"""),
        (go_on, b"x" * 61, f"no study: it starts with '{'x' * 60}'...."),
        (go_on, b"x" * 60, f"no study: it starts with '{'x' * 60}'."),
        (go_on, b"\xff\x00", "no study: it starts with '\ufffd\\x00'."),
    ):
        path.write_bytes(content)
        said = refused(partial(opened, path))
        assert f"{said}.".startswith(f"{path} is {words}"), said
        assert path.read_bytes() == content
    strange, neither = "not a trial, or one that stands there already", "has a score or an error"
    for line, words in (
        (b"torn", "is no study: line 3 is 'torn'."),
        (b"[]", "is no study: line 3 is '[]'."),
        (lines[0], f"line 3: {strange}: '{lines[0][:60].decode()}'...."),
        (changed(lines[1], budget=...), f"line 3: {strange}"),
        (changed(lines[1], notes=""), f"line 3: {strange}"),
        (changed(lines[1], number=1.5), f"line 3: {strange}"),
        (changed(lines[1], number=[1]), f"line 3: {strange}"),
        (changed(lines[1], error=None), f"line 3: a trial {neither}"),
        (changed(lines[2], error="both"), f"line 3: a trial {neither}"),
        (changed(lines[2], score=float("inf")), f"line 3: a trial {neither}"),
        (changed(lines[2], score="0.3"), f"line 3: a trial {neither}"),
        (changed(lines[2], config=[]), "line 3: a config is a dict, got []: "),
    ):
        path.write_bytes(b"\n".join([head, lines[0], line, b""]))
        for opened in (look, go_on):
            said = str(refused(partial(opened, path)))
            assert f"{said.removeprefix(str(path)).lstrip(', ')}.".startswith(words), said


@pytest.mark.parametrize("n", [59, 60, 61])
def test_a_foreign_first_line_is_quoted_with_its_file(tmp_path, n):
    path = tmp_path / "diary"
    path.write_bytes(b"x" * n + b"\n")
    said = str(refused(partial(TestStudy().opened, ours, path)))
    quoted = repr("x" * min(n, 60)) + ("..." if n > 60 else "")
    assert said.endswith(f"{path} is no study: line 1 is {quoted}"), said

"""Trials run: seeds, failures, processes that die, signals, the same scores whoever ran them."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import numpy_impl
import numpy_impl.tuning
import torch_impl.tuning
from numpy_impl.tuning import trials as ours
from parity_tests.harness import Mistake, RuleCase
from parity_tests.harness.bridge import same_stream
from parity_tests.harness.refusal import refused
from parity_tests.tuning import objectives
from torch_impl.tuning import trials as theirs

ROOT = Path(__file__).resolve().parents[2]
GLOBAL = numpy_impl.random.default_generator, torch.default_generator


def unseeded(objective, trial):
    GLOBAL[0].random64()
    state = GLOBAL[0].get_state()
    seeded = ours.replace(trial, seed=GLOBAL[0].initial_seed())
    done = ours.run_trial(objective, seeded)
    GLOBAL[0].set_state(state)
    return ours.replace(done, seed=trial.seed)


def stream_left(objective, trial):
    done = ours.run_trial(objective, trial)
    GLOBAL[0].manual_seed(trial.seed)
    return done


def nan_is_a_score(objective, trial):
    done = ours.run_trial(objective, trial)
    return ours.replace(done, score=float("nan"), error=None) if "nan" in str(done.error) else done


def config_handed_out(objective, trial):
    """The trial's own config, for the objective to change."""
    arguments = () if trial.budget is None else (trial.budget,)
    return ours.run_trial(lambda _, *rest: objective(trial.config, *arguments), trial)


def entered(make, *arguments):
    with make(*arguments):
        pass


class TestRunTrial(RuleCase):
    numpy, torch = ours.run_trial, theirs.run_trial
    covers = (ours.workers,)
    mistakes = {
        "the seed left unused": Mistake(
            unseeded,
            "Whoever seeds once, before the search.",
            "A trial's score depends on those before it, and cannot be had again.",
        ),
        "the caller's stream left elsewhere": Mistake(
            stream_left,
            "Whoever seeds the global generator and forgets who else draws from it.",
            "Every draw after a search is the same one.",
        ),
        "nan is a score": Mistake(
            nan_is_a_score,
            "Whoever compares: nan < best is False, so nothing seems wrong.",
            "As the first score it stays the best one, for nothing is less than nan.",
        ),
        "the config handed out": Mistake(
            config_handed_out,
            "Whoever passes dicts on.",
            "An objective that pops its settings leaves a study of empty configs.",
        ),
    }

    def both(self, objective, other=None, budget=None):
        trial = numpy_impl.tuning.Trial(4, {"lr": 0.1, "width": 64}, 11, budget)
        same = torch_impl.tuning.Trial(4, {"lr": 0.1, "width": 64}, 11, budget)
        with np.errstate(all="ignore"):
            return (
                type(self).numpy(objective, trial),
                theirs.run_trial(other or objective, same),
            )

    def check_draws_come_from_the_trials_seed_and_the_stream_is_put_back(self, log, rng):
        for stream in GLOBAL:
            stream.manual_seed(5)
        done = self.both(
            lambda config: GLOBAL[0].rand((), np.float64),
            lambda config: torch.rand((), dtype=torch.float64),
        )
        wanted = float(numpy_impl.Generator().manual_seed(11).rand((), np.float64))
        scores = [d.score for d in done]
        log.require(scores == [wanted, wanted], f"scores {scores}, wanted {wanted}")
        moved = same_stream(GLOBAL[0], torch.Generator().manual_seed(5))
        log.require(moved, "the NumPy side's global stream was left elsewhere")
        log.require(same_stream(*GLOBAL), "the torch side's global stream was left elsewhere")

    def check_what_fails_is_said(self, log, rng):
        def raises(config):
            raise KeyError("depth")

        for objective, error in (
            (raises, "KeyError: 'depth'"),
            (lambda config: float("nan"), "the objective returned nan"),
            (lambda config: -np.inf, "the objective returned -inf"),
            (lambda config: None, "the objective must return a number, got None"),
            (lambda config: "0.5x", "the objective must return a number, got '0.5x'"),
            (lambda config: "x" * 999, f"the objective must return a number, got '{'x' * 159}"),
        ):
            for done in self.both(objective):
                told = (done.score, done.error) == (None, error)
                log.require(told, f"{done.score}, {done.error!r}, wanted {error!r}")

    def check_numbers_of_any_kind_are_scores(self, log, rng):
        for objective in (lambda c: np.float32(0.5), lambda c: torch.tensor(0.5), lambda c: True):
            for done in self.both(objective):
                log.require(type(done.score) is float and done.error is None, f"{done}")

    def check_the_config_stays_as_it_was(self, log, rng):
        for done in self.both(lambda config: config.pop("lr")):
            log.require(done.config == {"lr": 0.1, "width": 64}, f"{done.config}")
            log.require(done.number == 4 and done.seed == 11, f"{done}")

    def check_a_budget_is_passed_on(self, log, rng):
        for done in self.both(lambda config, budget: budget / 2, budget=5):
            log.require(done.score == 2.5 and done.budget == 5, f"{done}")

    def check_settings_that_cannot_be_are_refused(self, log, rng):
        sides: tuple[Any, Any] = ours.workers, theirs.workers
        for side in sides:
            for wrong in (-1, 1.5):
                said = refused(partial(entered, side, objectives.bowl, wrong))
                log.require(f"at least 0, got {wrong}" in str(said), f"{said}")
            said = refused(partial(entered, side, lambda config: 0.0, 2))
            log.require("function at the top of a module" in str(said), f"{said}")

    def check_ctrl_c_goes_through(self, log, rng):
        def pressed(config):
            raise KeyboardInterrupt

        sides: tuple[tuple[Any, Any], ...] = (
            (type(self).numpy, numpy_impl.tuning.Trial(0, {}, 0)),
            (theirs.run_trial, torch_impl.tuning.Trial(0, {}, 0)),
        )
        for side, trial in sides:
            try:
                side(pressed, trial)
            except KeyboardInterrupt:
                log.require(True, "")
            else:
                log.require(False, f"{side}: Ctrl-C was swallowed")


# ---- processes ----------------------------------------------------------------------------------

SIDES: dict[str, Any] = {"numpy_impl": numpy_impl.tuning, "torch_impl": torch_impl.tuning}


def space(side):
    return {"lr": side.LogUniform(1e-4, 1.0), "width": side.Integer(16, 28)}


def told(study):
    """What a study says, but for how long things took."""
    return [(t.number, t.config, t.seed, t.score, t.error) for t in study.trials]


@pytest.mark.parametrize(("name", "num_workers"), [("numpy_impl", 2), ("torch_impl", 1)])
def test_processes_give_the_same_study_and_may_die(name, num_workers):
    """But for the one trial that takes its process with it."""
    side = SIDES[name]
    run = partial(side.random_search, space=space(side), trials=7, seed=8)
    here, there = run(objectives.bowl), run(objectives.dies, num_workers=num_workers)
    dead = [t for t in there.trials if t.config["width"] == 27]
    assert [t.error for t in dead] == ["its worker process died"]
    left = [x for x in told(here) if x[0] != dead[0].number]
    assert left == [x for x in told(there) if x[0] != dead[0].number]


SCRIPT = """
    import signal, sys
    from {side}.tuning import Integer, LogUniform, random_search
    from parity_tests.tuning.objectives import slow

    def objective(config):
        return slow(config)

    def main():
        # what a shell starts in its background is deaf to Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
        space = {{"lr": LogUniform(1e-4, 1.0), "width": Integer(16, 28)}}
        random_search(objective, space, 200, seed=3, path=sys.argv[1], num_workers={workers})

    {start}
"""
GUARD = 'if __name__ == "__main__":\n        main()'


def script(folder, **parts):
    path = folder / "script.py"
    path.write_text(textwrap.dedent(SCRIPT.format(**parts)), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PIDS": str(folder / "pids")}
    return subprocess.Popen(
        [sys.executable, str(path), str(folder / "study.jsonl")],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(holds, seconds=60.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize(
    ("name", "workers", "stop"),
    [("numpy_impl", 2, signal.SIGKILL), ("numpy_impl", 2, signal.SIGINT),
     ("torch_impl", 1, signal.SIGINT)],  # a process of torch takes long to start
)  # fmt: skip
def test_a_search_that_is_stopped_leaves_no_process_and_goes_on(tmp_path, name, workers, stop):
    """Its objective stands in the script itself."""
    side, file = SIDES[name], tmp_path / "study.jsonl"
    process = script(tmp_path, side=name, workers=workers, start=GUARD)
    until(lambda: file.exists() and file.read_bytes().count(b"\n") > 5)
    process.send_signal(stop)
    _, error = process.communicate()
    pids = {int(line) for line in (tmp_path / "pids").read_text().split()}
    assert len(pids) == workers
    until(lambda: not any(map(running, pids)))
    if stop == signal.SIGINT:
        assert process.returncode == -signal.SIGINT
        assert error.count("Traceback") == 1 and error.rstrip().endswith("KeyboardInterrupt")
    done = side.Study.load(file)
    assert 5 <= len(done.trials) < 200
    resumed = side.random_search(objectives.bowl, space(side), 30, seed=3, path=file)
    whole = side.random_search(objectives.bowl, space(side), 30, seed=3)
    assert told(resumed)[:30] == told(whole)


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path):
    process = script(tmp_path, side="numpy_impl", workers=1, start="main()")
    _, error = process.communicate()
    assert process.returncode == 1
    assert 'must stand under `if __name__ == "__main__":`' in error


@pytest.mark.parametrize("side", [ours, theirs])
def test_seconds_are_those_of_the_objective(monkeypatch, side):
    clock = SimpleNamespace(perf_counter=iter([100.0, 102.5]).__next__)
    monkeypatch.setattr(side, "time", clock)
    assert side.run_trial(lambda config: 1.0, side.Trial(0, {}, 0)).seconds == 2.5


# ---- a worker's side of the pipe, in this process -----------------------------------------------


class Told:
    """A connection that brings an objective and trials, and ends then; it keeps what is sent."""

    def __init__(self, sent, trials=(), end=EOFError):
        self.sent, self.trials, self.end = sent, list(trials), end
        self.heard: list[Any] = []

    def recv_bytes(self):
        return self.sent

    def recv(self):
        if not self.trials:
            raise self.end
        return self.trials.pop(0)

    def send(self, thing):
        self.heard.append(thing)


@pytest.fixture
def ctrl_c():
    """Puts back what Ctrl-C does."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


LOST = f"c{objectives.__name__}\nlost\n."  # what pickle makes of a function called `lost` there


@pytest.mark.parametrize("end", [EOFError, ConnectionResetError])
def test_a_worker_runs_trials_until_nobody_is_there_and_leaves_ctrl_c_to_others(ctrl_c, end):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trials = [ours.Trial(n, {"lr": 0.1, "width": 20 + n}, n) for n in range(3)]
    line = Told(pickle.dumps(objectives.bowl), trials, end)
    ours._serve(line)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ready, *done = line.heard
    assert ready is None
    wanted = [ours.run_trial(objectives.bowl, trial) for trial in trials]
    assert told(SimpleNamespace(trials=done)) == told(SimpleNamespace(trials=wanted))


def test_an_objective_that_workers_cannot_find_is_refused(ctrl_c):
    """As in a notebook, whose functions are in no file."""
    line = Told(LOST.encode())
    ours._serve(line)  # type: ignore[arg-type]
    (said,) = line.heard
    assert said.startswith("AttributeError: ") and "'lost'" in said
    worker, other = unstarted()
    other.send(said)
    with pytest.raises(TypeError, match="cannot find the objective: AttributeError: .*'lost'"):
        worker.meet(LOST.encode())


# ---- the searching side of the pipe, and nobody at its other end --------------------------------


def unstarted():
    """A worker without a process, and the other end of its pipe."""
    worker = object.__new__(ours._Worker)
    worker.connection, other = multiprocessing.Pipe()
    return worker, other


def test_a_process_that_has_died_is_no_error_until_its_trial_is_asked_for():
    worker, other = unstarted()
    other.close()
    worker.give(ours.Trial(0, {}, 0))
    assert worker.take() is None
    with pytest.raises(RuntimeError, match='must stand under `if __name__ == "__main__":`'):
        worker.meet(b"")


@pytest.fixture
def not_spawned():
    """Whoever starts processes without a word about how does not spawn them, where that can be."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[-1], force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def test_processes_are_spawned_with_one_thread_and_the_environment_is_put_back(
    monkeypatch, not_spawned
):
    names = ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"]
    monkeypatch.setenv(names[0], "7")
    monkeypatch.delenv(names[1], raising=False)
    monkeypatch.setenv(names[2], "5")
    started: list[Any] = []

    def start(process):
        started.append((type(process), [os.environ.get(name) for name in names]))

    monkeypatch.setattr(BaseProcess, "start", start)
    before = dict(os.environ)
    worker = ours._Worker()
    assert started == [(SpawnProcess, ["1", "1", "1"])]
    assert dict(os.environ) == before
    assert worker.take() is None  # nobody else holds the other end


class Hand(ours._Worker):
    """A worker without a process of its own. It dies of a trial whose width is 27."""

    made: list["Hand"] = []

    def __init__(self):
        self.connection, self.other = multiprocessing.Pipe()
        self.process = mock.Mock()
        self.trials: list[int] = []
        Hand.made.append(self)

    def meet(self, sent):
        self.objective = pickle.loads(sent)

    def give(self, trial):
        super().give(trial)
        taken = self.other.recv()
        self.trials.append(taken.number)
        if taken.config["width"] == 27:
            self.other.close()
        else:
            self.other.send(ours.run_trial(self.objective, taken))


@pytest.fixture
def crew(monkeypatch):
    """The workers that are made from now on."""
    monkeypatch.setattr(ours, "_Worker", Hand)
    monkeypatch.setattr(Hand, "made", [])
    return Hand.made


def trials_of(*widths):
    return [ours.Trial(n, {"lr": 0.1, "width": width}, n) for n, width in enumerate(widths)]


def test_workers_stay_for_the_next_trials_and_all_are_sent_home(crew):
    with ours.workers(objectives.bowl, 3) as run:
        assert len(list(run(trials_of(30)))) == 1
        assert len(crew) == 1  # no more than there are trials
        done = list(run(trials_of(*range(30, 39))))
        list(run(trials_of(30, 31, 32)))
        assert len(crew) == 3
    wanted = [ours.run_trial(objectives.bowl, trial) for trial in trials_of(*range(30, 39))]
    assert sorted((t.number, t.score) for t in done) == [(t.number, t.score) for t in wanted]
    for worker in crew:
        assert worker.connection.closed and len(worker.trials) > 1
        worker.process.join.assert_called_once_with()
        worker.process.terminate.assert_not_called()


def test_a_worker_that_dies_is_replaced_where_trials_wait(crew):
    with ours.workers(objectives.bowl, 1) as run:
        done = list(run(trials_of(27, 30, 31, 27)))
        assert [worker.trials for worker in crew] == [[0], [1, 2, 3]]
        assert [len(list(run(trials_of(30)))), len(crew)] == [1, 3]
    died = "its worker process died"
    assert [(t.number, t.error) for t in done] == [(0, died), (1, None), (2, None), (3, died)]
    assert [t.number for t in done if t.score is not None] == [1, 2]
    assert all(worker.connection.closed for worker in crew)


def test_when_something_goes_wrong_nobody_is_waited_for(crew):
    with pytest.raises(KeyboardInterrupt), ours.workers(objectives.bowl, 2) as run:
        next(run(trials_of(30, 31, 32)))
        raise KeyboardInterrupt
    assert len(crew) == 2
    for worker in crew:
        assert worker.process.method_calls == [mock.call.terminate(), mock.call.join()]


def test_without_workers_nothing_is_started(crew):
    with ours.workers(lambda config: 0.5) as run:
        assert [t.score for t in run(trials_of(30, 31))] == [0.5, 0.5]
    assert crew == []

"""Trials run: seeds, failures, processes that die, signals, the same scores whoever ran them."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path
from typing import Any

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


def test_an_objective_that_workers_cannot_find_is_refused(monkeypatch):
    """As in a notebook, whose functions are in no file."""

    def lost(config):
        return 0.0

    monkeypatch.setattr(objectives, "lost", lost, raising=False)
    lost.__module__, lost.__qualname__ = objectives.__name__, "lost"
    side = SIDES["numpy_impl"]
    with pytest.raises(TypeError, match="cannot find the objective: AttributeError"):
        side.random_search(lost, space(side), 2, num_workers=1)


def test_the_order_of_processes_does_not_show_in_one_study(tmp_path):
    side = SIDES["numpy_impl"]
    run = partial(side.random_search, objectives.bowl, space(side), 8, seed=1)
    assert told(run(path=tmp_path / "a", num_workers=3)) == told(run(num_workers=1))

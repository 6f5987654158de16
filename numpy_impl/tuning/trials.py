"""Trials run one by one, here or in several processes, with the same results.

A trial's config and seed are fixed before it runs and the generator is seeded for each, so neither
the number of processes nor who ran what shows in a score.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from numpy_impl.random import default_generator
from numpy_impl.tuning.study import Trial

__all__ = ["run_trial", "workers"]

Objective = Callable[..., Any]
Run = Callable[[Sequence[Trial]], Iterator[Trial]]
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def run_trial(objective: Objective, trial: Trial) -> Trial:
    """Call objective(config), or objective(config, budget) if the trial has one, and note the end.

    `numpy_impl`'s global generator is seeded with the trial's seed, and put back afterwards. What
    the objective raises, or a score that is no finite number, makes a trial that failed; Ctrl-C
    goes through.
    """
    state, started = default_generator.get_state(), time.perf_counter()
    default_generator.manual_seed(trial.seed)
    arguments = (dict(trial.config), *(() if trial.budget is None else (trial.budget,)))
    score, error = None, None
    try:
        result = objective(*arguments)
        try:
            score = float(result)
        except (TypeError, ValueError):
            error = f"the objective must return a number, got {result!r}"[:200]
        if score is not None and not math.isfinite(score):
            score, error = None, f"the objective returned {score}"
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    finally:
        default_generator.set_state(state)
    return replace(trial, score=score, error=error, seconds=time.perf_counter() - started)


@contextlib.contextmanager
def workers(objective: Objective, num_workers: int = 0) -> Iterator[Run]:
    """Something to run trials with: `run(trials)` yields them as they come to their end.

    With 0 they run in this process, one after the other. Otherwise in so many new ones, started
    afresh ("spawn"), each with one BLAS thread. A process that dies, out of memory say, fails its
    trial and is replaced. When the block ends, whatever way, no process is left behind.

    Raises:
        TypeError: the objective cannot be sent to a process: it is no function at a module's top.
        RuntimeError: a process does not get as far as its first trial.
        ValueError: num_workers is no whole number, or negative.
    """
    if not isinstance(num_workers, int) or num_workers < 0:
        raise ValueError(f"num_workers must be a whole number, at least 0, got {num_workers!r}")
    if num_workers == 0:
        yield lambda trials: (run_trial(objective, trial) for trial in trials)
        return
    try:
        sent = pickle.dumps(objective)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            "with num_workers the objective must be a function at the top of a module, or another "
            f"thing that pickle can send; or take num_workers=0. pickle says: {error}"
        ) from None
    crew: list[_Worker] = []
    try:
        yield lambda trials: _spread(sent, crew, num_workers, trials)
    except BaseException:  # Ctrl-C, or an error here: wait for nobody
        for worker in crew:
            worker.process.terminate()
        raise
    finally:
        for worker in crew:
            worker.stop()


def _spread(
    sent: bytes, crew: list[_Worker], num_workers: int, trials: Sequence[Trial]
) -> Iterator[Trial]:
    waiting, running = deque(trials), dict[Connection, tuple[_Worker, Trial]]()
    new = [_Worker() for _ in range(min(num_workers, len(waiting)) - len(crew))]
    crew += new
    for worker in new:  # all are starting by now
        worker.meet(sent)
    idle = list(crew)
    while waiting or running:
        while waiting and idle:
            worker, trial = idle.pop(), waiting.popleft()
            worker.give(trial)
            running[worker.connection] = worker, trial
        ready: list[Any] = wait(list(running))
        for connection in ready:
            worker, trial = running.pop(connection)
            done = worker.take()
            if done is None:
                crew.remove(worker)
                worker.stop()
                done = replace(trial, error="its worker process died")
                if waiting:
                    crew.append(worker := _Worker())
                    worker.meet(sent)
            if worker in crew:
                idle.append(worker)
            yield done


class _Worker:
    """A process at the other end of a pipe."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs,)
        )
        with _one_thread():
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def meet(self, sent: bytes) -> None:
        """Hand over the objective, once the process is up."""
        try:
            self.connection.send_bytes(sent)
            refused = self.connection.recv()
        except (EOFError, OSError):
            raise RuntimeError(
                "a worker process ended before its first trial; what it said is above. Run as a "
                'script, the search must stand under `if __name__ == "__main__":`, as each worker '
                "imports the script anew"
            ) from None
        if refused:
            raise TypeError(
                f"a worker process cannot find the objective: {refused}. Define it in a file, at "
                "its top level, or take num_workers=0"
            )

    def give(self, trial: Trial) -> None:
        with contextlib.suppress(OSError):  # a dead worker is met in `take`
            self.connection.send(trial)

    def take(self) -> Trial | None:
        try:
            done: Trial = self.connection.recv()
        except (EOFError, OSError):
            return None
        return done

    def stop(self) -> None:
        """Hang up, which ends it once it is idle."""
        self.connection.close()
        self.process.join()


def _serve(connection: Connection) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that searches decides
    try:
        objective = pickle.loads(connection.recv_bytes())
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
        return
    connection.send(None)
    with contextlib.suppress(EOFError, OSError):  # nobody is there any more
        while True:
            connection.send(run_trial(objective, connection.recv()))


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """BLAS libraries read these when they load."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

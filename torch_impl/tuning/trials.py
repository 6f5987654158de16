"""Trials run one by one, here or in several processes, with the same results.

CUDA and threads do not survive a fork, so processes are spawned; `torch.multiprocessing` is the
standard library's with tensors that travel through shared memory. Each process has an executor of
its own: where one dies, the trial that it had is known, and the others do not notice. One thread
a process, or they fight for the cores.
"""

import contextlib
import math
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import torch
import torch.multiprocessing

from torch_impl.tuning.study import Trial

__all__ = ["run_trial", "workers"]

Objective = Callable[..., Any]
Run = Callable[[Sequence[Trial]], Iterator[Trial]]


def run_trial(objective: Objective, trial: Trial) -> Trial:
    """Call objective(config), or objective(config, budget) if the trial has one, and note the end.

    `torch.manual_seed` gets the trial's seed, and the CPU's stream is put back afterwards. What the
    objective raises, or a score that is no finite number, makes a trial that failed; Ctrl-C goes
    through.
    """
    arguments = (dict(trial.config), *(() if trial.budget is None else (trial.budget,)))
    started = time.perf_counter()
    score, error = None, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        try:
            result = objective(*arguments)
            try:
                score = float(result)
            except (TypeError, ValueError, RuntimeError):
                error = f"the objective must return a number, got {result!r}"[:200]
            if score is not None and not math.isfinite(score):
                score, error = None, f"the objective returned {score}"
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    return replace(trial, score=score, error=error, seconds=time.perf_counter() - started)


@contextlib.contextmanager
def workers(objective: Objective, num_workers: int = 0) -> Iterator[Run]:
    """Something to run trials with: `run(trials)` yields them as they come to their end.

    With 0 they run in this process, one after the other. Otherwise in so many new ones, started
    afresh ("spawn"), each with one thread. A process that dies, out of memory say, fails its trial
    and is replaced. When the block ends, whatever way, no process is left behind.

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
            worker.terminate()
        raise
    finally:
        for worker in crew:
            worker.stop()


def _spread(
    sent: bytes, crew: "list[_Worker]", num_workers: int, trials: Sequence[Trial]
) -> Iterator[Trial]:
    waiting, running = deque(trials), dict[Future[Trial], tuple[_Worker, Trial]]()
    new = [_Worker(sent) for _ in range(min(num_workers, len(waiting)) - len(crew))]
    crew += new
    for worker in new:  # all are starting by now
        worker.meet()
    idle = list(crew)
    while waiting or running:
        while waiting and idle:
            worker, trial = idle.pop(), waiting.popleft()
            running[worker.pool.submit(_work, trial)] = worker, trial
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            worker, trial = running.pop(future)
            try:
                done = future.result()
            except BrokenProcessPool:
                done = replace(trial, error="its worker process died")
                crew.remove(worker)
                worker.stop()
                if waiting:
                    crew.append(worker := _Worker(sent))
                    worker.meet()
            if worker in crew:
                idle.append(worker)
            yield done


class _Worker:
    """An executor of one process."""

    def __init__(self, sent: bytes) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, _settle)
        self.pid: int | None = None
        self._met = self.pool.submit(_accept, sent)

    def meet(self) -> None:
        """Wait until the process is up and has the objective."""
        try:
            self.pid, refused = self._met.result()
        except BrokenProcessPool:
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

    def terminate(self) -> None:
        """End the process, whatever it is at."""
        for process in multiprocessing.active_children():
            if process.pid == self.pid:
                process.terminate()

    def stop(self) -> None:
        """End the process once it is idle."""
        self.pool.shutdown(wait=True, cancel_futures=True)


_objective: Objective


def _settle() -> None:
    """In each new process: the one that searches decides what Ctrl-C means, and when to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _accept(sent: bytes) -> tuple[int, str | None]:
    """Unpack the objective here, where what goes wrong can be told."""
    global _objective
    try:
        _objective = pickle.loads(sent)
    except Exception as error:
        return os.getpid(), f"{type(error).__name__}: {error}"
    return os.getpid(), None


def _work(trial: Trial) -> Trial:
    return run_trial(_objective, trial)

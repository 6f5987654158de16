"""Running every check of every case in worker processes.

Workers are new processes with one BLAS thread each, whatever their number, and a check draws from
a seed of its own, so what comes out depends neither on how many there are nor on who ran what.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

import torch

import numpy_impl
from parity_tests.harness.case import Check, Settings
from parity_tests.harness.discovery import explain
from parity_tests.harness.results import CheckResult, Recorder, Technique

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
AT_ONCE = 4  # checks that a worker takes at a time


def cpus() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run(
    techniques: Sequence[Technique], settings: Settings, jobs: int
) -> Generator[tuple[Technique, int, CheckResult], None, None]:
    """Run every check of the techniques; yields results as they come in."""
    todo = [
        (t, start, min(start + AT_ONCE, len(t.checks)))
        for t in techniques
        for start in range(0, len(t.checks), AT_ONCE)
    ]
    if not todo:
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            min(jobs, len(todo)), multiprocessing.get_context("spawn"), _settle
        ) as pool,
    ):
        futures: dict[Future[list[CheckResult]], tuple[Technique, int, int]] = {
            pool.submit(_work, t.module, t.case, settings, start, stop): (t, start, stop)
            for t, start, stop in todo
        }
        try:
            for future in as_completed(futures):
                technique, start, stop = futures[future]
                try:
                    results = future.result()
                except Exception as error:  # the process died: out of memory, or a crash in C
                    text = f"not run, its worker process ended: {type(error).__name__}: {error}"
                    names = technique.checks[start:stop]
                    results = [CheckResult(name, failures=(text,)) for name in names]
                for i, result in enumerate(results, start):
                    yield technique, i, result
        except BaseException:  # Ctrl-C, or nobody reads on: leave nothing running
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def run_check(check: Check, settings: Settings) -> CheckResult:
    """Run one check; whatever it raises is a failure of it, and so is a RuntimeWarning."""
    log, started = Recorder(), time.perf_counter()
    numpy_impl.manual_seed(settings.seed)
    torch.default_generator.manual_seed(settings.seed)
    raised = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            check.run(log)
        if not log.deviations and not log.rules:
            raised.append("compared nothing")
    except BaseException as error:  # pytest.fail and SystemExit too
        raised.append(explain(error))
    return CheckResult(
        name=str(check),
        comparisons=len(log.deviations),
        rules=log.rules,
        seconds=time.perf_counter() - started,
        worst=tuple(log.worst()),
        failures=(*log.failures, *raised),
        curves=tuple(log.curves),
    )


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside find one BLAS thread in their environment."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _settle() -> None:
    """In each new worker: one thread, and the parent decides what Ctrl-C means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


@functools.lru_cache(maxsize=4)
def _checks(module: str, case: str, settings: Settings) -> list[Check]:
    return list(getattr(importlib.import_module(module), case)().checks(settings))


def _work(module: str, case: str, settings: Settings, start: int, stop: int) -> list[CheckResult]:
    return [run_check(check, settings) for check in _checks(module, case, settings)[start:stop]]

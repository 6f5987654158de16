"""Running every check of every case in worker processes.

Workers are new processes with one BLAS thread each, whatever their number, and a check draws from
a seed of its own, so what comes out depends neither on how many there are nor on who ran what.
The workers load the cases, and with them torch; the process that prints stays light.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed

from parity_tests.harness import discovery
from parity_tests.harness.case import Check, Settings
from parity_tests.harness.results import CheckResult, Recorder, Technique

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
AT_ONCE = 4  # checks that a worker takes at a time


def cpus() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """That many processes with one BLAS thread each; none is left behind, come what may."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _settle)
    try:
        yield pool
        pool.shutdown()
    except BaseException:  # Ctrl-C, or an error here: wait for nobody
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _settle() -> None:
    """In each new worker: the parent decides what Ctrl-C means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def discover(pool: Executor, jobs: int, suite: str, settings: Settings) -> list[Technique]:
    """What the suite holds. Every worker looks, since every one has to load the cases anyway."""
    found = [pool.submit(discovery.discover, suite, settings) for _ in range(jobs)]
    return next(as_completed(found)).result()


def run(
    pool: Executor, techniques: Sequence[Technique], settings: Settings
) -> Generator[tuple[Technique, int, CheckResult], None, None]:
    """Run every check of the techniques; yields results as they come in."""
    futures: dict[Future[list[CheckResult]], tuple[Technique, int, int]] = {}
    for t in techniques:
        for start in range(0, len(t.checks), AT_ONCE):
            stop = min(start + AT_ONCE, len(t.checks))
            future = pool.submit(_work, t.module, t.case, settings, start, stop)
            futures[future] = t, start, stop
    for future in as_completed(futures):
        technique, start, stop = futures[future]
        try:
            results = future.result()
        except Exception as error:  # the process died: out of memory, or a crash in C
            text = f"not run, a worker process ended: {type(error).__name__}: {error}"
            results = [CheckResult(n, failures=(text,)) for n in technique.checks[start:stop]]
        for i, result in enumerate(results, start):
            yield technique, i, result


def _work(module: str, case: str, settings: Settings, start: int, stop: int) -> list[CheckResult]:
    return [run_check(check, settings) for check in _checks(module, case, settings)[start:stop]]


@functools.lru_cache(maxsize=4)
def _checks(module: str, case: str, settings: Settings) -> list[Check]:
    return discovery.checks_of(getattr(importlib.import_module(module), case), settings)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in any program, whatever this process makes of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_check(check: Check, settings: Settings) -> CheckResult:
    """Run one check; whatever it raises is a failure of it, and so is a RuntimeWarning."""
    log, started = Recorder(), time.process_time()
    for side in ("numpy_impl", "torch"):  # a case that draws from one has imported it
        if side in sys.modules:
            sys.modules[side].manual_seed(settings.seed)
    raised = []
    try:
        with warnings.catch_warnings(), interruptible():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            check.run(log)
        if not log.deviations and not log.rules:
            raised.append("compared nothing")
    except BaseException as error:  # pytest.fail and SystemExit too
        raised.append(discovery.explain(error))
    return CheckResult(
        name=str(check),
        comparisons=len(log.deviations),
        rules=log.rules,
        seconds=time.process_time() - started,
        worst=tuple(log.worst()),
        failures=(*log.failures, *raised),
        curves=tuple(log.curves),
    )

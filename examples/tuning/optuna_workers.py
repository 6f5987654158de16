"""The same objective and space under Optuna: processes, or machines, that share one study.

    python -m examples.tuning.optuna_workers                         two processes, one journal file
    python -m examples.tuning.optuna_workers --storage sqlite:///digits.db

Optuna (`pip install '.[optuna]'`) is an engine for more than one machine: every worker asks the
storage which trials there are, and proposes its next one. Put the storage where all machines reach
it, a database say, and start this command on each. Who proposes what then depends on timing; the
searches of this project's own chapter give one study whatever the number of processes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from examples.tuning import digits
from torch_impl.tuning import SearchSpace, Trial, run_trial

STUDY = "digits"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    parser.add_argument("--trials", type=int, default=10, help="of each process")
    parser.add_argument("--storage", default="out/digits.journal", help="a file, or a database URL")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args(argv)
    if (optuna := imported()) is None:
        print("this example wants Optuna: pip install '.[optuna]'", file=sys.stderr)
        return 2
    study = opened(optuna, options.storage)
    before = len(study.trials)
    work = partial(worker, options.storage, options.trials, options.epochs)
    processes = [get_context("spawn").Process(target=work) for _ in range(options.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    done = study.trials[before:]
    print(f"{len(done)} trials by {len({t.user_attrs['process'] for t in done})} processes")
    best = study.best_trial
    print(f"best: number {best.number}, validation loss {best.value:.4f}, {best.params}")
    return max(process.exitcode or 0 for process in processes)


def worker(storage: str, trials: int, epochs: int) -> None:
    """One process: as many trials, each proposed from what all processes have found."""
    optuna = imported()
    torch.set_num_threads(1)
    space = SearchSpace(digits.space("torch_impl"))
    objective = partial(digits.objective, side="torch_impl", epochs=epochs, samples=600)

    def call(asked: Any) -> float:
        asked.set_user_attr("process", torch.multiprocessing.current_process().name)
        done = run_trial(objective, Trial(asked.number, space.suggest(asked), seed=asked.number))
        if done.score is None:
            raise RuntimeError(done.error)
        return done.score

    opened(optuna, storage).optimize(call, n_trials=trials, catch=RuntimeError)


def imported() -> Any:
    """Optuna, told to be quiet; None where it is not installed."""
    try:
        import optuna
    except ImportError:
        return None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def opened(optuna: Any, storage: str) -> Any:
    """The study in the storage, made if it is not there."""
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(storage)
        )
    return optuna.create_study(storage=storage, study_name=STUDY, load_if_exists=True)


if __name__ == "__main__":
    sys.exit(main())

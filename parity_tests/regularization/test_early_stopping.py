"""EarlyStopping: the same decisions, the same best epoch, the same weights brought back."""

import copy
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from numpy_impl import nn
from numpy_impl.regularization import early_stopping as ours
from parity_tests.harness import Case, Check, Mistake, grid
from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.limits import called_alike
from parity_tests.harness.refusal import raises, refused, says
from parity_tests.harness.stand_ins import Compared
from torch_impl.regularization import early_stopping as theirs

# Metrics are drawn from few values, so that ties and differences of just min_delta are common.
METRICS = (np.nan, np.inf, -np.inf, *np.arange(8) / 4)
OFTEN = np.array([2, 1, 0.3, *[4] * 8])


class Tracked(nn.Module):
    """A parameter, and running statistics beside it."""

    running_mean: Any
    num_batches_tracked: Any

    def __init__(self):
        self.weight = nn.Parameter(np.zeros((3, 2)))
        self.register_buffer("running_mean", np.zeros(2))
        self.register_buffer("num_batches_tracked", np.array(0))


class TorchTracked(torch.nn.Module):
    running_mean: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
        self.register_buffer("running_mean", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


class LiveWeights(ours.EarlyStopping):
    """state_dict kept by reference: the best weights go on training."""

    def step(self, metric, model):
        better = self._is_better(float(metric))
        stop = super().step(metric, model)
        if better and self.restore_best:
            self.best_state = model.state_dict()
        return stop


class ParametersOnly(ours.EarlyStopping):
    """The running statistics stay those of the last epoch."""

    def restore(self, model):
        kept = self.best_state or {}
        for name, p in model.named_parameters():
            if name in kept:
                p.data[...] = kept[name]


class TiesCount(ours.EarlyStopping):
    """As good as before taken for better."""

    def _is_better(self, metric):
        return super()._is_better(metric) or metric == self.best


class DeltaIgnored(ours.EarlyStopping):
    def _is_better(self, metric):
        return metric < self.best if self.mode == "min" else metric > self.best


class DeltaAdded(ours.EarlyStopping):
    def __init__(self, patience=10, min_delta=0.0, mode="min", restore_best=True):
        super().__init__(patience, min_delta, mode, restore_best)
        self.min_delta = -min_delta


class NanCounts(ours.EarlyStopping):
    """not (metric >= best) taken for metric < best."""

    def _is_better(self, metric):
        return super()._is_better(metric) or metric != metric


class OneLater(ours.EarlyStopping):
    """num_bad_epochs > patience, as in ReduceLROnPlateau."""

    def __init__(self, patience=10, *args, **kwargs):
        super().__init__(patience + 1, *args, **kwargs)


class NeverReset(ours.EarlyStopping):
    """Bad epochs counted over the whole run, not in a row."""

    def step(self, metric, model):
        bad = self.num_bad_epochs
        stop = super().step(metric, model)
        self.num_bad_epochs = max(self.num_bad_epochs, bad)
        return stop


class AlwaysMin(ours.EarlyStopping):
    def __init__(self, patience=10, min_delta=0.0, mode="min", restore_best=True):
        super().__init__(patience, min_delta, "min", restore_best)


class TestEarlyStopping(Case):
    numpy, torch = ours.EarlyStopping, theirs.EarlyStopping
    configs = grid(
        patience=[0, 1, 3], min_delta=[0.0, 0.25], mode=["min", "max"], restore_best=[True, False]
    )
    mistakes = {
        "best weights alias the live ones": Mistake(
            LiveWeights,
            "A classic slip: `best = model.state_dict()`, which holds the very arrays.",
            "What is restored is the last epoch.",
        ),
        "buffers not restored": Mistake(
            ParametersOnly,
            "A classic slip: parameters() are kept, and not the running statistics.",
            "The best weights meet the norms of another epoch.",
        ),
        "ties count": Mistake(
            TiesCount,
            "Written with <= for <.",
            "A plateau counts as progress and never stops.",
        ),
        "min_delta ignored": Mistake(
            DeltaIgnored,
            "A classic slip: the option is taken and never used.",
            "Noise counts as progress.",
        ),
        "min_delta with the sign turned": Mistake(
            DeltaAdded,
            "Written as `metric < best + min_delta`.",
            "Slightly worse counts as better, and the best weights drift away.",
        ),
        "nan counts": Mistake(
            NanCounts,
            "Written as `not metric >= best`, which NaN fulfils.",
            "The weights of a run that has blown up are kept as the best.",
        ),
        "one epoch later": Mistake(
            OneLater,
            "Written with > for >=, as torch's ReduceLROnPlateau counts.",
            "Training goes on for one epoch more than asked.",
        ),
        "bad epochs never reset": Mistake(
            NeverReset,
            "A classic slip: bad epochs are counted over the whole run, not in a row.",
            "Long runs stop although they progress.",
        ),
        "mode ignored": Mistake(
            AlwaysMin,
            "A classic slip: an accuracy is watched as if it were a loss.",
            "The worst weights are kept.",
        ),
    }

    def checks(self, settings):
        for config in self.configs:
            text = ",".join(f"{k}={v}" for k, v in config.items())
            yield Check(f"agrees[{text}]", partial(self._agrees, settings, config))
        yield Check("resumes", partial(self._resumes, settings))
        yield Check("refusals", self._refusals)
        yield Check("called alike", partial(called_alike, self))
        yield from self.trials(settings)

    def places(self, settings):
        for config in self.configs:
            yield from self._places(settings, config)

    def _given(self, rng, epochs=25):
        """Numbers of metrics in METRICS (so that no jitter breaks a tie), and weights by epoch."""
        return {
            "metrics": rng.choice(len(METRICS), epochs, p=OFTEN / OFTEN.sum()),
            "weight": rng.standard_normal((epochs, 3, 2)),
            "mean": rng.standard_normal((epochs, 2)),
        }

    def _places(self, settings, config):
        rng = self.rng(settings, str(config))
        for run in range(12):
            yield Compared(
                f"run {run}",
                lambda case, given: case._ours(config, given),
                partial(self._theirs, config),
                self._given(rng),
            )

    def _agrees(self, settings, config, log):
        for place in self._places(settings, config):
            log.compare(place.compare(self, "float64"), place.name)

    def _ours(self, config, given, until=None, stopper=None):
        model, stopper = Tracked(), stopper or type(self).numpy(**config)
        stopped = False
        for t, code in list(enumerate(given["metrics"]))[stopper.last_epoch : until]:
            model.weight.data[...] = given["weight"][t]
            model.running_mean[...] = given["mean"][t]
            model.num_batches_tracked.fill(t)
            stopped = stopper.step(METRICS[code], model)
            if stopped:
                break
        return self._found(stopper, stopped, model.state_dict())

    def _theirs(self, config, given, until=None, stopper=None):
        model, stopper = TorchTracked(), stopper or type(self).torch(**config)
        stopped = False
        for t, code in list(enumerate(given["metrics"]))[stopper.last_epoch : until]:
            with torch.no_grad():
                model.weight.copy_(to_torch(given["weight"][t]))
            model.running_mean.copy_(to_torch(given["mean"][t]))
            model.num_batches_tracked.fill_(t)
            stopped = stopper.step(torch.tensor(METRICS[code]), model)
            if stopped:
                break
        return self._found(stopper, stopped, to_numpy(dict(model.state_dict())))

    def _found(self, stopper, stopped, state):
        counts = [stopped, stopper.best_epoch, stopper.num_bad_epochs, stopper.last_epoch]
        kept = {
            f"forward best {k}": np.asarray(v).copy() for k, v in (stopper.best_state or {}).items()
        }
        found = {"forward decisions": np.array(counts), "forward best": np.array(stopper.best)}
        return found | kept | {f"step {k}": np.array(v) for k, v in state.items()}

    def _resumes(self, settings, log):
        """Saved after 5 epochs and loaded into a new one, on either side, it ends the same."""
        config: Any = {"patience": 6, "min_delta": 0.25}
        rng = self.rng(settings, "resumes")
        for _ in range(10):
            given = self._given(rng)
            whole = self._ours(config, given)
            mine, other = type(self).numpy(**config), type(self).torch(**config)
            self._ours(config, given, until=5, stopper=mine)
            self._theirs(config, given, until=5, stopper=other)
            for saved in (mine.state_dict(), other.state_dict()):
                fresh, there = type(self).numpy(), type(self).torch()
                fresh.load_state_dict(copy.deepcopy(saved))
                there.load_state_dict(copy.deepcopy(saved))
                ends = (
                    self._ours(config, given, stopper=fresh),
                    self._theirs(config, given, stopper=there),
                )
                for end in ends:
                    equal = all(np.array_equal(end[k], whole[k]) for k in whole)
                    log.require(equal, f"resumed: {end}, in one go: {whole}")
        stopper = type(self).numpy()
        same = stopper.state_dict() == type(self).torch().state_dict()
        log.require(same, f"starts as {stopper.state_dict()}, torch {type(self).torch().__dict__}")
        said = refused(partial(stopper.load_state_dict, {"best": 1.0})) or ""
        told = says(said, r"must have \['best', 'best_epoch'.* got \['best'\]")
        log.require(told and stopper.best == np.inf, f"an incomplete state: said {said!r}")
        kept: Any = mine.best_state
        saved, fresh = mine.state_dict(), cast(Any, fresh)
        fresh.load_state_dict(saved | {"best_state": kept})
        for held in (saved["best_state"], fresh.best_state):
            apart = not any(np.may_share_memory(kept[k], x) for k, x in held.items())
            log.require(apart, "what was saved or loaded is the same memory")

    def _refusals(self, log):
        wrong: list[dict[str, Any]] = [{"patience": p} for p in (-1, 1.5)]
        wrong += [{"min_delta": d} for d in (-0.1, np.nan, np.inf)]
        wrong += [{"mode": m} for m in ("auto", None)]
        for config in wrong:
            for side in (type(self).numpy, type(self).torch):
                took = not raises(partial(side, **config), error=ValueError)
                log.require(not took, f"{side} takes {config}")
            ((name, value),) = config.items()
            said = refused(partial(type(self).numpy, **config)) or ""
            log.require(says(said, f"{name} must be .* got {value!r}"), f"said {said!r}")


def test_the_optimizer_goes_on_with_the_restored_parameters():
    model, stopper = Tracked(), ours.EarlyStopping(patience=1)
    held = model.weight.data
    held[...] = 1.0
    assert not stopper.step(0.5, model)
    held[...] = 2.0
    assert stopper.step(0.6, model)
    assert model.weight.data is held and (held == 1.0).all()

"""Loaders: the order of the batches, and what is drawn for it, bit for bit."""

import itertools
from functools import partial
from typing import Any, cast

import numpy as np
import torch

import numpy_impl
from numpy_impl.training import data as ours
from parity_tests.harness import Mistake, RuleCase, grid
from parity_tests.harness.bridge import same_stream
from parity_tests.harness.refusal import raises, refused
from torch_impl.training import data as theirs

LOADERS = grid(n=[1, 6, 7], batch_size=[3, 10], shuffle=[False, True], drop_last=[False, True])


class NoWorkerSeed(ours.DataLoader):
    """A pass that draws its permutation and nothing else."""

    def __iter__(self):
        return self._pass()


class NoSecondPermutation(ours.DataLoader):
    """A pass that stops where its data stop."""

    def _pass(self):
        return itertools.islice(super()._pass(), len(self))


class NumPysPermutation(ours.DataLoader):
    """The shuffle left to NumPy's own generator."""

    def _pass(self):
        order = np.random.default_rng(0).permutation(len(self.dataset))
        for start in range(0, len(self.dataset), self.batch_size):
            yield self.dataset[order[start : start + self.batch_size]]


class ShortBatchKept(ours.DataLoader):
    """drop_last forgotten."""

    def __init__(self, dataset, batch_size=1, shuffle=None, *, drop_last=False, generator=None):
        super().__init__(dataset, batch_size, shuffle, generator=generator)


class LoaderParity(RuleCase):
    """A loader that is run for three passes beside torch's, the last one broken off."""

    def pair(self, config, x, y, generators):
        """Both loaders over the same numbers."""
        raise NotImplementedError

    def check_the_batches_and_all_that_is_drawn_are_torchs(self, log, rng):
        for config, own in itertools.product(LOADERS, [True, False]):
            x, y = rng.standard_normal((config["n"], 2)), rng.integers(0, 9, config["n"])
            seed = int(rng.integers(2**31))
            numpy_impl.manual_seed(seed)
            torch.default_generator.manual_seed(seed)
            pair = numpy_impl.Generator().manual_seed(1), torch.Generator().manual_seed(1)
            streams = pair if own else (None, None)
            loader, other = self.pair(config, x, y, streams)
            log.require(len(loader) == len(other), f"{config}: {len(loader)}, not {len(other)}")
            watched = (
                streams if own else (numpy_impl.random.default_generator, torch.default_generator)
            )
            for passes in range(3):
                it, it2 = iter(loader), iter(other)
                log.require(same_stream(*watched), f"{config}: streams part when a pass starts")
                for _ in range(len(other) + 1 if passes < 2 else 1):
                    a, b = next(it, None), next(it2, None)
                    same = (a is None) == (b is None)
                    if a is not None and b is not None:
                        pairs = list(zip(a, b, strict=True))
                        same = all(np.array_equal(p, q.numpy()) for p, q in pairs)
                        same = same and all(str(p.dtype) == str(q.dtype)[6:] for p, q in pairs)
                    log.require(same, f"{config}, pass {passes}: {a}, torch {b}")
                    log.require(same_stream(*watched), f"{config}, pass {passes}: streams part")


class TestDataLoader(LoaderParity):
    numpy, torch = ours.DataLoader, theirs.DataLoader
    mistakes = {
        "no worker seed drawn": Mistake(
            NoWorkerSeed,
            "Whoever rebuilds the loader from its documentation: torch draws a seed for workers, "
            "also without any.",
            "From the second pass on the order is not torch's.",
        ),
        "no second permutation drawn": Mistake(
            NoSecondPermutation,
            "Whoever stops when the data stop: torch's sampler draws once more.",
            "What is drawn after the pass is not torch's.",
        ),
        "shuffled by NumPy": Mistake(
            NumPysPermutation,
            "Code that leaves the shuffle to NumPy's generator.",
            "Another order from the same seed: curves cannot be laid on each other.",
        ),
        "short last batch kept": Mistake(
            ShortBatchKept,
            "A classic slip: drop_last is taken and never used.",
            "A last batch of one breaks batch norm, and its gradient is noise.",
        ),
    }

    def pair(self, config, x, y, generators):
        config = {k: v for k, v in config.items() if k != "n"}
        tensors = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
        return (
            type(self).numpy(ours.TensorDataset(x, y), generator=generators[0], **config),
            theirs.DataLoader(theirs.TensorDataset(*tensors), generator=generators[1], **config),
        )

    def check_a_batch_is_a_copy(self, log, rng):
        x = rng.standard_normal((6, 2))
        for (batch,) in type(self).numpy(ours.TensorDataset(x), 3):
            log.require(not np.shares_memory(batch, x), "a batch shares the dataset's memory")

    def check_bad_settings_are_refused_as_torchs_are(self, log, rng):
        arrays, tensors = (np.zeros(3), np.zeros(0)), (torch.zeros(3), torch.zeros(0))
        self.refuses(log, type(self).numpy, *map(ours.TensorDataset, arrays))
        self.refuses(log, theirs.DataLoader, *map(theirs.TensorDataset, tensors))

    def refuses(self, log, loader, full, empty):
        for size in (0, -1, 2.0, "3", True):
            said = refused(partial(loader, full, size))
            log.require(
                f"batch_size={size}" in str(said).replace("'", ""), f"{loader}, {size!r}: {said}"
            )
        log.require(raises(lambda: loader(full, drop_last=1)), f"{loader}: drop_last=1")
        said = refused(lambda: list(loader(full, shuffle=True, generator=7)))
        log.require("Generator" in str(said) and "int" in str(said), f"{loader}: {said}")
        log.require(raises(lambda: loader(empty, 2, shuffle=True)), f"{loader}: nothing to shuffle")
        log.require(len(list(loader(full, 1))) == 3, f"{loader}: batches of one")
        log.require(list(loader(empty, 2)) == [], f"{loader}: an empty set has batches")


class TestBatches(LoaderParity):
    numpy, torch = ours.batches, theirs.batches
    mistakes = {
        "no shuffle": Mistake(
            lambda *tensors, shuffle=False, **config: ours.batches(*tensors, **config),
            "A classic slip: the option is taken and never used.",
            "Batches are alike in every epoch; sorted data give one class at a time.",
        ),
    }

    def pair(self, config, x, y, generators):
        config = {k: v for k, v in config.items() if k != "n"}
        tensors = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
        return (
            type(self).numpy(x, y, generator=generators[0], **config),
            theirs.batches(*tensors, generator=generators[1], **config),
        )

    def check_the_fast_loader_of_torch_keeps_the_slow_ones_order(self, log, rng):
        x = torch.arange(11)
        for config in grid(batch_size=[2, 11], shuffle=[False, True], drop_last=[False, True]):
            for generator in (None, torch.Generator()):
                found = []
                for make in (
                    theirs.batches,
                    lambda x, **c: theirs.DataLoader(theirs.TensorDataset(x), **c),
                ):
                    (generator or torch.default_generator).manual_seed(3)
                    loader = make(x, generator=generator, **config)
                    found.append([batch.tolist() for _ in range(2) for (batch,) in loader])
                log.require(found[0] == found[1], f"{config}: {found}")


class LengthsUnchecked(ours.TensorDataset):
    """Arrays of any length taken together."""

    def __init__(self, *tensors):
        self.tensors = tensors


class TestTensorDataset(RuleCase):
    numpy, torch = ours.TensorDataset, theirs.TensorDataset
    mistakes = {
        "lengths unchecked": Mistake(
            LengthsUnchecked,
            "Written with zip, which ends with the shorter.",
            "Labels that belong to other samples are learnt.",
        ),
    }

    def check_samples_slices_and_lists_are_torchs(self, log, rng):
        x, y = rng.standard_normal((5, 2, 3)), rng.integers(0, 9, 5)
        a = type(self).numpy(x, y)
        b = theirs.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        log.require(len(a) == len(b) == 5 and len(a.tensors) == 2, "length")
        for index in (0, -1, slice(1, 4), [0, 3, 3]):
            pairs = zip(a[index], b[index], strict=True)
            log.require(all(np.array_equal(p, q.numpy()) for p, q in pairs), f"{index}")
        log.require(raises(lambda: a[5]) and raises(lambda: b[5]), "a sample past the end")

    def check_mismatched_arrays_are_refused(self, log, rng):
        for shapes in ([(3,), (4,)], [()]):
            arrays = [np.zeros(s) for s in shapes]
            log.require(raises(type(self).numpy, *arrays), f"{shapes} accepted")
            tensors = [torch.zeros(s) for s in shapes]
            errors = (AssertionError, IndexError)
            log.require(raises(theirs.TensorDataset, *tensors, error=errors), f"torch: {shapes}")
        log.require(raises(type(self).numpy), "nothing accepted")
        said = refused(lambda: type(self).numpy(cast(Any, [1.0])))
        log.require("got list" in str(said), f"a list: {said}")

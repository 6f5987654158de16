"""One seed and nothing else: both sides construct, shuffle, drop and train to the same numbers.

`manual_seed` is all that the two runs have in common. No weight is copied, no generator handed in:
weights, the order of the digits and every dropout mask come from the global streams, which end in
the same state, byte for byte.
"""

import itertools

import numpy as np
import torch

import numpy_impl.training
from numpy_impl.random import Generator
from numpy_impl.regularization import Dropout
from numpy_impl.training import DataLoader, TensorDataset
from parity_tests.harness import Mistake, TrainingParity
from parity_tests.harness.training_case import SEED


class HashedSeed(Generator):
    """The seed hashed on its way to the engine, as NumPy's own constructors do."""

    def manual_seed(self, seed):
        super().manual_seed(seed)
        key = np.random.MT19937(seed).state["state"]["key"]  # hashed by SeedSequence
        self._engine.set_state(
            {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}, "has_gauss": 0}
        )
        return self


class ManyBits(Generator):
    """float32 numbers cut down from float64 ones."""

    def rand(self, shape=(), dtype=np.float32):
        return super().rand(shape, np.float64).astype(dtype)


class SineFirst(Generator):
    """The two normal numbers of a pair the other way round."""

    def _normal_blocks(self, n, dtype):
        blocks = super()._normal_blocks(n, dtype)
        if n % 16 == 0:
            blocks = blocks.reshape(-1, 2, 8)[:, ::-1].ravel()
        return blocks


class NothingThrownAway(DataLoader):
    """No second permutation at the end of a pass."""

    def _pass(self):
        return itertools.islice(super()._pass(), len(self))


class NoWorkerSeed(DataLoader):
    """A pass that draws nothing before its permutation."""

    def __iter__(self):
        return self._pass()


class SeededOnce(DataLoader):
    """One generator for the permutations of all passes, made when the loader is."""

    def __init__(self, *args, **kwargs):
        seed = int(numpy_impl.default_generator.random64()[0]) % 2**63
        super().__init__(*args, **{**kwargs, "generator": Generator().manual_seed(seed)})


def loaded_by(loader):
    """`batches` of a case, through another loader on the NumPy side."""

    def batches(case, impl, data):
        dataset = TensorDataset(data.x, data.y)
        return loader(dataset, case.batch_size, True, generator=case.stream(impl))

    return {"batches": batches}


def drawn_by(generator):
    """`make` of a case, with weights that another generator draws from the seed."""
    return {"make": lambda case, impl: case.network(impl, generator=generator().manual_seed(SEED))}


def drawn_in_float64(case, impl):
    return case.network(impl, dtype=np.float64)


def dropping_apart(case, impl):
    """The network of a case, whose dropout has a stream of its own."""
    model = case.network(impl)
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = Generator().manual_seed(SEED)
    return model


WRONG_DRAWS = {
    "the seed hashed": Mistake(
        drawn_by(HashedSeed),
        "np.random.MT19937(seed) and default_rng(seed), which seed through SeedSequence.",
        "The same engine, another stream: no number agrees.",
    ),
    "float32 from 53 bits": Mistake(
        drawn_by(ManyBits),
        "float64 numbers rounded to float32.",
        "Twice as many words are used up, and no weight after the first agrees.",
    ),
    "sine before cosine": Mistake(
        drawn_by(SineFirst),
        "Box and Muller's formulas in the other order.",
        "The right numbers in the wrong places.",
    ),
    "weights drawn in float64": Mistake(
        {"make": drawn_in_float64},
        "A float64 model built as one, where torch builds in float32 and converts.",
        "float64 takes two words a number: other weights from the first on.",
    ),
    "dropout with a stream of its own": Mistake(
        {"make": dropping_apart},
        "A generator for dropout beside that of the weights, as in JAX.",
        "Weights and shuffles agree, masks do not.",
    ),
}


class OneSeed(TrainingParity):
    """A training in which all that is random comes from the global stream."""

    epochs = 3
    steps = 5

    def network(self, impl, **options):
        """The network; `options` go to the NumPy side."""
        raise NotImplementedError

    def stream(self, impl):
        """What the loader is handed as its generator."""
        return None

    def make(self, impl):
        return self.network(impl)

    def batches(self, impl, data):
        return impl.training.batches(
            data.x,
            data.y,
            batch_size=self.batch_size,
            shuffle=True,
            generator=self.stream(impl),
        )

    def train(self, impl, model, data, epochs):
        return impl.training.fit(
            model,
            self.batches(impl, data),
            impl.losses.CrossEntropyLoss(),
            impl.optimization.SGD(model.parameters(), lr=0.05, momentum=0.9),
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.training.accuracy,
        )


class TestOneSeed(OneSeed):
    """A DeepMLP with batch norm and dropout from one manual_seed, its shuffles seeded by torch."""

    numpy, torch = numpy_impl.manual_seed, torch.manual_seed
    mistakes = WRONG_DRAWS | {
        "no worker seed drawn": Mistake(
            loaded_by(NoWorkerSeed),
            "A loader without workers, which seems to need no seed for them.",
            "Permutations and masks part from the first epoch on.",
        ),
        "permutations seeded once": Mistake(
            loaded_by(SeededOnce),
            "A generator made when the loader is.",
            "torch seeds a new one every epoch, and moves the global stream by it.",
        ),
    }

    def network(self, impl, **options):
        return impl.architectures.DeepMLP(
            [64, 24, 24, 10], batch_norm=True, dropout=[0.2, 0.1], **options
        )


class TestOneSeedResidual(OneSeed):
    """A ResidualMLP with batch norm and dropout, its shuffles drawn from the global stream too."""

    numpy, torch = numpy_impl.manual_seed, torch.manual_seed
    mistakes = WRONG_DRAWS | {
        "no permutation thrown away": Mistake(
            loaded_by(NothingThrownAway),
            "A loader that draws what it needs.",
            "The first epoch agrees, the second draws other masks and another order.",
        ),
    }

    def stream(self, impl):
        return numpy_impl.default_generator if impl is numpy_impl else torch.default_generator

    def network(self, impl, **options):
        return impl.architectures.ResidualMLP(
            [64, 24, 24, 10], batch_norm=True, dropout=0.2, **options
        )

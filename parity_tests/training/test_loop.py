"""Whole trainings on digits, equal at every step: what the rest of the suite is for."""

from functools import partial

import numpy as np

import numpy_impl.training
import torch_impl.losses
import torch_impl.optimization
import torch_impl.regularization
import torch_impl.training
from numpy_impl.losses import MSELoss
from numpy_impl.normalization import BatchNorm1d
from numpy_impl.optimization import SGD, Adam
from numpy_impl.regularization import EarlyStopping, ElasticNet
from parity_tests.harness import TrainingParity


class TestPlainMLP(TrainingParity):
    """All training digits, SGD with momentum, a rate that decays every epoch."""

    numpy, torch = numpy_impl.training.fit, torch_impl.training.fit
    samples = None
    epochs = 5
    mistakes = {
        "momentum damped": {
            "optimizer": lambda self, impl: partial(SGD, momentum=0.9, dampening=0.9)
        },
        "schedule moved on every step": {"scheduler_steps": "step"},
        "shuffled once, for all epochs": {
            "batches": lambda self, impl, data: list(TestPlainMLP().batches(impl, data))
        },
    }
    scheduler_steps = "epoch"

    def make(self, impl):
        return impl.architectures.DeepMLP([64, 32, 10])

    def optimizer(self, impl):
        return partial(impl.optimization.SGD, momentum=0.9)

    def batches(self, impl, data):
        return impl.training.batches(
            data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
        )

    def train(self, impl, model, data, epochs):
        optimizer = self.optimizer(impl)(model.parameters(), lr=0.1)
        return impl.training.fit(
            model,
            self.batches(impl, data),
            impl.losses.CrossEntropyLoss(),
            optimizer,
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.training.accuracy,
            scheduler=impl.optimization.ExponentialLR(optimizer, gamma=0.8),
            scheduler_steps=self.scheduler_steps,
        )


def keeping_a_tenth(case):
    """The network with norms that keep 0.1 of their old statistics and take 0.9 of the new."""
    model = TestNormAndDropout.make(case, numpy_impl)
    for module in model.modules():
        if isinstance(module, BatchNorm1d):
            module.momentum = 0.9
    return model


class TestNormAndDropout(TrainingParity):
    """Batch norm, dropout, AdamW that leaves norms undecayed, warm-up and cosine, clipping."""

    numpy, torch = numpy_impl.training.train_step, torch_impl.training.train_step
    epochs = 6
    mistakes = {
        "clipped by value": {"clip": {"clip_value": 0.5}},
        "decay on every parameter": {
            "groups": lambda self, impl, model: [{"params": list(model.parameters())}]
        },
        "momentum of the norms the other way round": {
            "make": lambda self, impl: keeping_a_tenth(self)
        },
        "no warm-up": {
            "schedule": lambda self, impl, optimizer: impl.optimization.CosineAnnealingLR(
                optimizer, T_max=30
            )
        },
    }
    clip = {"clip_norm": 0.5}

    def make(self, impl):
        return impl.architectures.DeepMLP([64, 32, 32, 10], batch_norm=True, dropout=[0.2, 0.0])

    def groups(self, impl, model):
        return impl.optimization.decay_groups(model, 0.05)

    def schedule(self, impl, optimizer):
        cosine = impl.optimization.CosineAnnealingLR(optimizer, T_max=25)
        return impl.optimization.warmup_then(cosine, warmup_epochs=5)

    def train(self, impl, model, data, epochs):
        optimizer = impl.optimization.AdamW(self.groups(impl, model), lr=5e-3)
        return impl.training.fit(
            model,
            impl.training.batches(
                data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
            ),
            impl.losses.CrossEntropyLoss(label_smoothing=0.1),
            optimizer,
            epochs=epochs,
            validation=impl.training.batches(data.x_val, data.y_val, batch_size=100),
            metric=impl.training.accuracy,
            scheduler=self.schedule(impl, optimizer),
            scheduler_steps="step",
            **self.clip,
        )


class NotRestored(EarlyStopping):
    """Stops in time and keeps the last weights."""

    def restore(self, model):
        pass


class TestResidualWithEarlyStopping(TrainingParity):
    """Residual blocks under Adam with amsgrad, ended by early stopping at its best weights."""

    numpy, torch = EarlyStopping, torch_impl.regularization.EarlyStopping
    epochs = 12
    samples = 192
    batch_size = 16
    mistakes = {
        "best weights not restored": {"stopper": lambda self, impl: NotRestored(2, 0.002)},
        "one epoch more of patience": {"stopper": lambda self, impl: EarlyStopping(3, 0.002)},
        "amsgrad forgotten": {"optimizer": lambda self, impl: partial(Adam, amsgrad=False)},
    }

    def make(self, impl):
        return impl.architectures.ResidualMLP(
            [64, 24, 24, 16, 10], learning_rate=0.02, pre_activation=True
        )

    def stopper(self, impl):
        return impl.regularization.EarlyStopping(2, 0.002)

    def optimizer(self, impl):
        return partial(impl.optimization.Adam, amsgrad=True)

    def train(self, impl, model, data, epochs):
        return model.fit(
            data.x,
            data.y,
            epochs,
            self.batch_size,
            validation=(data.x_val, data.y_val),
            optimizer=self.optimizer(impl),
            generator=data.generator,
            early_stopping=self.stopper(impl),
        )


class GuidesGradient(MSELoss):
    """The guide's: error over the batch size, which is D/2 times the gradient of this loss."""

    def backward(self, dloss=1.0):
        dx = super().backward(dloss)
        return dx * (dx.shape[1] / 2)


class TestRegression(TrainingParity):
    """The lower half of a digit from its upper half: RMSprop, MSELoss, an L1 and L2 penalty."""

    numpy, torch = ElasticNet, torch_impl.regularization.ElasticNet
    epochs = 5
    mistakes = {
        "the guide's gradient, D/2 times the loss's": {
            "criterion": lambda self, impl: GuidesGradient()
        },
        "penalty on half the squares, gradient of the whole": {
            "penalty": lambda self, impl: ElasticNet(1e-4, 2e-3)
        },
        "biases pay too": {
            "penalty": lambda self, impl: ElasticNet(1e-4, 1e-3, lambda name, p: True)
        },
    }

    def arrays(self):
        given = super().arrays()
        for part in ("", "_val"):
            digits = given[f"x{part}"]
            given[f"x{part}"], given[f"y{part}"] = digits[:, :32].copy(), digits[:, 32:].copy()
        return given

    def make(self, impl):
        return impl.architectures.DeepMLP(
            [32, 24, 32], activation="tanh", task="regression", batch_norm=True
        )

    def criterion(self, impl):
        return impl.losses.MSELoss()

    def penalty(self, impl):
        return impl.regularization.ElasticNet(1e-4, 1e-3)

    def train(self, impl, model, data, epochs):
        return impl.training.fit(
            model,
            impl.training.batches(
                data.x, data.y, batch_size=64, shuffle=True, generator=data.generator
            ),
            self.criterion(impl),
            impl.optimization.RMSprop(model.parameters(), lr=2e-3, momentum=0.5),
            epochs=epochs,
            validation=[(data.x_val, data.y_val)],
            metric=impl.losses.r2_score,
            penalty=self.penalty(impl),
        )


def test_the_runs_learn_something():
    """Agreement on a network that learns nothing would prove little."""
    for case, better in ((TestPlainMLP(), 0.9), (TestNormAndDropout(), 0.7)):
        found = case._run(numpy_impl, case._given(), case.epochs)
        assert found["step val_metric"][-1] > better
        assert np.all(np.isfinite(found["step loss"]))

"""RNN, and the classifier made of it."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from numpy_impl.layers import recurrent as ours
from numpy_impl.random import default_generator
from parity_tests.harness import Mistake, ModuleParity, Refusal, arrays, grid
from torch_impl.layers import recurrent as theirs


class Ours(ours.RNN):
    """Output and state as one row of numbers, which is what a case compares."""

    def forward(self, x, hx=None):
        output, state = super().forward(x, hx)
        joined = np.concatenate([output.ravel(), state.ravel()])
        self.save_for_backward(joined, output.shape, state.shape)
        return joined

    def backward(self, doutput, dstate=None):
        dy, shape, state_shape = self.saved_for_backward(doutput)
        n = int(np.prod(shape))
        dx, dhx = super().backward(dy[:n].reshape(shape), dy[n:].reshape(state_shape))
        return dx if dhx is None else (dx, dhx)


class Theirs(theirs.RNN):
    """The same of torch's."""

    def forward(self, x, hx=None):
        output, state = super().forward(x, hx)
        return torch.cat([output.flatten(), state.flatten()])


class OneDirection(Ours):
    """The second direction reads the sequence from its beginning too."""

    def _read(self, x, start, suffix):
        return super()._read(x[::-1] if suffix.endswith("_reverse") else x, start, suffix)


class NoStateGradient(Ours):
    """The gradient of the state that comes out is forgotten."""

    def backward(self, doutput, dstate=None):
        dy, shape, _ = self.saved_for_backward(doutput)
        dx, dhx = ours.RNN.backward(self, dy[: int(np.prod(shape))].reshape(shape))
        return dx if dhx is None else (dx, dhx)


@contextlib.contextmanager
def swapped(parameter, data):
    """Other numbers in a parameter for a while."""
    kept, parameter.data = parameter.data, data
    yield
    parameter.data = kept


class OneStepBack(Ours):
    """Nothing comes back through weight_hh: every step is the last one."""

    def _read_back(self, run, dy, dh):
        weight = self._parameters(run.suffix)[1]
        with swapped(weight, np.zeros_like(weight.data)):
            return super()._read_back(run, dy, dh)


class NotTransposed(Ours):
    """Backward multiplies by weight_hh the way forward does; it is square, so no shape tells."""

    def _read_back(self, run, dy, dh):
        weight = self._parameters(run.suffix)[1]
        with swapped(weight, weight.data.T):
            return super()._read_back(run, dy, dh)


class OneBias(Ours):
    """Only bias_ih is added."""

    def _read(self, x, start, suffix):
        if not self.bias:
            return super()._read(x, start, suffix)
        bias = self._parameters(suffix)[3]
        with swapped(bias, np.zeros_like(bias.data)):
            return super()._read(x, start, suffix)


class DroppedAtTheEnd(Ours):
    """Dropout on the last layer's output as well."""

    def _turned(self, y, ndim):
        return super()._turned(self._masked(y, self._mask(y)), ndim)


SIZES = {"input_size": [3], "hidden_size": [4]}


class TimeLeftFirst(Ours):
    """The output as (L, N, *), whatever came in."""

    def forward(self, x, hx=None):
        joined = super().forward(x, hx)
        (n, steps, width), _ = self._saved[-1].values
        output = joined[: n * steps * width].reshape(n, steps, width).swapaxes(0, 1)
        return np.concatenate([output.ravel(), joined[output.size :]])

    def backward(self, doutput, dstate=None):
        (n, steps, width), _ = self._saved[-1].values
        dy = doutput[: n * steps * width].reshape(steps, n, width).swapaxes(0, 1)
        return super().backward(np.concatenate([dy.ravel(), doutput[dy.size :]]))


class GradientLeftFirst(Ours):
    """The gradient of x as (L, N, *)."""

    def backward(self, doutput, dstate=None):
        dx, dhx = super().backward(doutput)
        return dx.swapaxes(0, 1), dhx


class RandomStart(Ours):
    """h_0 from a normal distribution."""

    def forward(self, x, hx=None):
        n = x.shape[0 if self.batch_first else 1]
        return super().forward(x, default_generator.randn((1, n, self.hidden_size), x.dtype))

    def backward(self, doutput, dstate=None):
        return super().backward(doutput)[0]


class StepsAsSamples(Ours):
    """One sequence read as a batch of sequences of one step."""

    def forward(self, x, hx=None):
        output, state = ours.RNN.forward(self, x[:, None], np.repeat(hx[:, None], len(x), 1))
        joined = np.concatenate([output.ravel(), state[:, -1].ravel()])
        self.save_for_backward(joined, output.shape, state.shape)
        return joined

    def backward(self, doutput, dstate=None):
        dy, shape, state_shape = self.saved_for_backward(doutput)
        n = int(np.prod(shape))
        dstate = np.zeros(state_shape, dy.dtype)
        dstate[:, -1] = dy[n:].reshape(dstate[:, -1].shape)
        back: Any = ours.RNN.backward(self, dy[:n].reshape(shape), dstate)
        dx, dhx = back
        return dx[:, 0], dhx.sum(axis=1)


class TestRNN(ModuleParity):
    numpy, torch = Ours, Theirs
    covers = (ours.RNN,)
    configs = [
        *grid(**SIZES, nonlinearity=["tanh", "relu"]),
        *grid(**SIZES, num_layers=[2], dropout=[1.0], bias=[False]),
        *grid(**SIZES, num_layers=[2], dropout=[0.4], bidirectional=[True]),
    ]
    inputs = [
        *arrays("L N input_size", L=[1], N=[0, 1]),
        *arrays("L N input_size", L=[5], N=[2]),
    ]
    differentiable = 2
    network = True  # steps follow each other as layers do
    mistakes = {
        "both directions read forward": Mistake(
            OneDirection,
            "Two RNNs side by side, and the sequence of the second never turned around.",
            "No step sees what comes after it, and half of the output is at wrong steps.",
        ),
        "the state's gradient forgotten": Mistake(
            NoStateGradient,
            "Backward takes the gradient of the output alone, as for a layer with one output.",
            "Decoders and pieces of a longer sequence teach the RNN before them nothing.",
        ),
        "one step back": Mistake(
            OneStepBack,
            "A loop over the steps that does not add what comes back through weight_hh.",
            "Every step learns as if it were the last; what came long before is never learnt.",
        ),
        "weight_hh not transposed in backward": Mistake(
            NotTransposed,
            "A classic slip: `dh @ W.T` where the weight is kept as (out, in).",
            "No error, since weight_hh is square: the last step's gradient is right, no other is.",
        ),
        "one bias": Mistake(
            OneBias,
            "Textbooks have one b; torch keeps bias_ih and bias_hh, and the second is not added.",
            "Weights from torch give every step a wrong shift; trained from scratch it is hidden.",
        ),
        "dropout after the last layer": Mistake(
            DroppedAtTheEnd,
            "Keras drops around every layer; torch only between two of them.",
            "The output has holes in training, and the stream moves on by one mask too many.",
        ),
    }
    config = {"input_size": 3, "hidden_size": 4}
    refusals = [
        Refusal(
            {"input_size": 0, "hidden_size": 4}, says="input_size must be greater than zero, got 0"
        ),
        Refusal(
            {"input_size": 3, "hidden_size": 0}, says="hidden_size must be greater than zero, got 0"
        ),
        Refusal(
            {"input_size": 3, "hidden_size": 4.0},
            says="hidden_size should be of type int, got: float",
        ),
        Refusal({**config, "num_layers": 0}, says="num_layers must be greater than zero, got 0"),
        Refusal({**config, "nonlinearity": "sigmoid"}, says="'sigmoid'. Select from 'tanh' or"),
        Refusal({**config, "dropout": 1.5, "num_layers": 2}, says=r"range \[0, 1\], got 1.5"),
        Refusal({**config, "bias": 1}, says="bias should be of type bool, got: int"),
        Refusal({**config, "batch_first": 1}, says="batch_first should be of type bool, got: int"),
        Refusal(config, (np.zeros(3),), r"2 or 3 axes, got shape \(3,\)"),
        Refusal(config, (np.zeros((5, 2, 4)),), r"\(\*, 3\), got \(5, 2, 4\)"),
        Refusal(config, (np.zeros((0, 2, 3)),), "larger than 0 in RNN"),
        Refusal(
            config, (np.zeros((5, 2, 3)), np.zeros((1, 3, 4))), r"\(1, 2, 4\), got \(1, 3, 4\)"
        ),
        Refusal(config, (np.zeros((5, 2, 3)), np.zeros((1, 4))), r"\(1, 2, 4\), got \(1, 4\)"),
        Refusal(config, (np.zeros((5, 3)), np.zeros((1, 1, 4))), r"\(1, 4\), got \(1, 1, 4\)"),
        Refusal(
            config, (np.zeros((5, 2, 3)), np.zeros((1, 2, 4), np.float32)), "hx must be float64"
        ),
    ]

    def make_inputs(self, rng, shape, regime, config):
        layers = config.get("num_layers", 1) * (2 if config.get("bidirectional") else 1)
        batch = shape[0 if config.get("batch_first") else 1]
        state = layers, *([batch] if len(shape) == 3 else []), config["hidden_size"]
        return regime(rng, shape), rng.standard_normal(state)


class TestRNNBatchFirst(TestRNN):
    configs = grid(**SIZES, batch_first=[True], num_layers=[2], bidirectional=[True])
    inputs = arrays("N L input_size", L=[5], N=[2])
    mistakes = {
        "output left with time first": Mistake(
            TimeLeftFirst,
            "A classic slip: x is turned for the loop over steps, and the output not turned back.",
            "`output[:, -1]` is the last sample at every step, without an error where L is N.",
        ),
        "gradient left with time first": Mistake(
            GradientLeftFirst,
            "A classic slip: backward forgets what forward turned.",
            "The layer before raises, or learns from other samples' steps.",
        ),
    }
    refusals = []


class TestRNNWithoutAState(TestRNN):
    configs = grid(**SIZES, batch_first=[False, True])
    inputs = [*arrays("L N input_size", L=[5], N=[2])]
    differentiable = 1
    mistakes = {
        "random start": Mistake(
            RandomStart,
            "Tutorials that begin with `torch.randn(1, n, hidden)`; torch begins at 0.",
            "The same sequence gives another output in every call, in eval mode too.",
        ),
    }
    refusals = []

    def make_inputs(self, rng, shape, regime, config):
        return (regime(rng, shape),)


class TestRNNOfOneSequence(TestRNN):
    configs = grid(**SIZES, batch_first=[True], num_layers=[2])
    inputs = arrays("L input_size", L=[1, 5])
    mistakes = {
        "steps read as samples": Mistake(
            StepsAsSamples,
            "A classic slip: the axis that a batch wants is put in the wrong place.",
            "Every step begins anew: nothing is remembered, and the shapes are right.",
        ),
    }
    refusals = []


class FirstLayersState(ours.RNNClassifier):
    """The head on state[0]."""

    def forward(self, x):
        output, state = self.rnn(x)
        logits = self.head(state[0])
        self.save_for_backward(logits, output.shape, state.shape)
        return logits

    def backward(self, dy):
        dy, shape, state_shape = self.saved_for_backward(dy)
        dstate = np.zeros(state_shape, dy.dtype)
        dstate[0] = self.head.backward(dy)
        return self.rnn.backward(np.zeros(shape, dy.dtype), dstate)[0]


class GradientAtEveryStep(ours.RNNClassifier):
    """The head's gradient given to all steps."""

    def backward(self, dy):
        dy, shape = self.saved_for_backward(dy)
        dlast = self.head.backward(dy)
        return self.rnn.backward(np.repeat(np.asarray(dlast)[:, None], shape[1], axis=1))[0]


class FirstStepsOutput(ours.RNNClassifier):
    """The head on output[:, 0]."""

    def forward(self, x):
        output, _ = self.rnn(x)
        logits = self.head(output[:, 0])
        self.save_for_backward(logits, output.shape)
        return logits

    def backward(self, dy):
        dy, shape = self.saved_for_backward(dy)
        doutput = np.zeros(shape, dy.dtype)
        doutput[:, 0] = self.head.backward(dy)
        return self.rnn.backward(doutput)[0]


class TestRNNClassifier(ModuleParity):
    mistakes = {
        "state of the first layer": Mistake(
            FirstLayersState,
            "Written as `h_n[0]`, right for one layer; of several the last is h_n[-1].",
            "The layers above are run and never learn.",
        ),
        "gradient at every step": Mistake(
            GradientAtEveryStep,
            "A classic slip: the head's gradient broadcast over time.",
            "Steps whose output nobody reads are taught the last one's lesson.",
        ),
        "output of the first step": Mistake(
            FirstStepsOutput,
            "A transformer's habit, whose first token stands for the whole.",
            "The class is told from the first step alone; nothing after it counts.",
        ),
    }
    draws = ("uniform", "orthogonal_")
    numpy, torch = ours.RNNClassifier, theirs.RNNClassifier
    configs = grid(**SIZES, num_classes=[2], num_layers=[2], nonlinearity=["relu", "tanh"])
    inputs = [*arrays("N L input_size", N=[0, 1], L=[1]), *arrays("N L input_size", N=[3], L=[4])]
    network = True


def test_the_same_seed_starts_both_with_the_same_weights():
    numpy_impl.manual_seed(3)
    torch.manual_seed(3)
    mine, other = ours.RNN(3, 4, 2, bidirectional=True), theirs.RNN(3, 4, 2, bidirectional=True)
    expected = other.state_dict()
    assert all(np.array_equal(v, expected[k].numpy()) for k, v in mine.state_dict().items())


def test_a_sequence_read_in_pieces_gives_what_it_gives_as_a_whole():
    rnn, x = ours.RNN(3, 4, 2, dtype=np.float64), np.random.default_rng(0).random((6, 2, 3))
    whole, last = rnn(x)
    first, state = rnn(x[:4])
    second, end = rnn(x[4:], state)
    assert np.array_equal(np.concatenate([first, second]), whole)
    assert np.array_equal(end, last)


def test_a_state_gradient_of_a_wrong_shape_is_refused_and_the_forward_stays():
    rnn = ours.RNN(3, 4)
    output, state = rnn(np.zeros((5, 2, 3), np.float32))
    with pytest.raises(RuntimeError, match=r"shaped like its state, \(1, 2, 4\), got \(2, 4\)"):
        rnn.backward(np.ones_like(output), state[0])
    dx, dhx = rnn.backward(np.ones_like(output))
    assert dx is not None and dx.shape == (5, 2, 3) and dhx is None


def test_a_first_layer_spares_the_gradient_of_the_data():
    model = ours.RNNClassifier(3, 4, 2)
    model.needs_input_grad = False
    assert model.backward(np.ones_like(model(np.zeros((2, 5, 3), np.float32)))) is None
    assert all(p.grad is not None for p in model.parameters())


def test_dropout_without_a_layer_after_it_is_warned_of_on_both_sides():
    for rnn in (theirs.RNN, ours.RNN):
        with pytest.warns(UserWarning, match="num_layers") as told:
            rnn(3, 4, dropout=0.5)
    assert "dropout=0.5" in str(told[0].message) and told[0].filename == __file__


def test_the_classifier_starts_with_orthogonal_recurrent_weights():
    weight = ours.RNNClassifier(3, 8, 2, init_gain=1.5).rnn.state_dict()["weight_hh_l0"]
    assert np.allclose(weight @ weight.T, 2.25 * np.eye(8), atol=1e-5)


def test_attributes_and_what_is_not_said_are_torchs():
    for arguments in ((3, 4), (3, 4, 2, "relu", False, True, 0.25, True)):
        mine, other = ours.RNN(*arguments), theirs.RNN(*arguments)
        for name in ("input_size", "hidden_size", "num_layers", "nonlinearity", "bias",
                     "batch_first", "dropout", "bidirectional"):  # fmt: skip
            a, b = getattr(mine, name), getattr(other, name)
            assert a == b and type(a) is type(b), name
        assert repr(mine) == repr(other) and mine.training
        assert {p.dtype for p in mine.parameters()} == {np.dtype(np.float32)}
    said: dict[str, Any] = dict(
        num_layers=1, nonlinearity="tanh", dropout=0.0, init_gain=1.0, dtype=np.float32
    )
    numpy_impl.manual_seed(2)
    plain = ours.RNNClassifier(3, 4, 2)
    numpy_impl.manual_seed(2)
    spelled = ours.RNNClassifier(3, 4, 2, **said)
    assert repr(plain) == repr(spelled) and plain.rnn.dropout == 0
    for key, value in plain.state_dict().items():
        np.testing.assert_array_equal(value, spelled.state_dict()[key], strict=True)


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("bad", [True, 2.0, "2", None])
def test_a_size_is_a_whole_number_on_both_sides(name, bad):
    sizes: dict[str, Any] = {"input_size": 3, "hidden_size": 4, name: bad}
    with pytest.raises(TypeError, match=f"{name} should be of type int, got: {type(bad).__name__}"):
        ours.RNN(**sizes)
    if name == "hidden_size" and bad is not True:
        with pytest.raises(TypeError):
            theirs.RNN(**sizes)


@pytest.mark.parametrize("bad", [True, -0.1, 1.1, np.nan])
def test_dropout_is_a_share(bad):
    with pytest.raises(ValueError, match=rf"a number in range \[0, 1\], got {bad}"):
        ours.RNN(3, 4, 2, dropout=bad)
    with pytest.raises(ValueError):
        theirs.RNN(3, 4, 2, dropout=bad)


def test_a_generator_of_ones_own_draws_the_weights_and_the_masks():
    numpy_impl.manual_seed(9)
    before = default_generator.get_state()
    own = default_generator.clone_state()
    mine = ours.RNNClassifier(3, 4, 2, num_layers=2, dropout=0.5, generator=own)
    x = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
    drawn = mine(x)
    np.testing.assert_array_equal(default_generator.get_state(), before)  # nobody drew from it
    global_ = ours.RNNClassifier(3, 4, 2, num_layers=2, dropout=0.5)
    assert global_.rnn.dropout == 0.5
    np.testing.assert_array_equal(global_(x), drawn)
    np.testing.assert_array_equal(default_generator.get_state(), own.get_state())


def test_nothing_is_drawn_where_nothing_is_dropped():
    x = np.zeros((5, 0, 3), np.float32)
    for layers, dropout, training, data in (
        (2, 0.5, False, np.zeros((5, 2, 3), np.float32)),
        (2, 0.0, True, np.zeros((5, 2, 3), np.float32)),
        (2, 1.0, True, np.zeros((5, 2, 3), np.float32)),
        (2, 0.5, True, x),
    ):
        rnn = ours.RNN(3, 4, layers, dropout=dropout).train(training)
        before = default_generator.get_state()
        output, _ = rnn(data)
        rnn.backward(np.ones_like(output))
        np.testing.assert_array_equal(default_generator.get_state(), before)


def test_what_overflows_is_infinite_in_silence():
    rnn = ours.RNN(2, 3, nonlinearity="relu")
    for p in rnn.parameters():
        p.data[...] = 1e30
    with np.errstate(all="raise"):
        output, state = rnn(np.full((4, 1, 2), 1e30, np.float32))
        assert np.isposinf(output).all() and np.isposinf(state).all()
        rnn.backward(np.full_like(output, 1e30))
    for p in rnn.parameters():
        assert p.grad is not None and not np.isfinite(p.grad).any()


def test_what_the_classifiers_forward_saved_can_be_dropped():
    model, x = ours.RNNClassifier(3, 4, 2), np.zeros((2, 5, 3), np.float32)
    logits = model(x)
    assert model._saved and model.rnn._saved and model.head._saved
    model.discard_saved()
    assert not (model._saved or model.rnn._saved or model.head._saved)
    with pytest.raises(RuntimeError, match="backward"):
        model.backward(np.ones_like(logits))
    assert model.needs_input_grad and model.rnn.needs_input_grad
    model.needs_input_grad = False
    assert model.needs_input_grad is model.rnn.needs_input_grad is False
    model.needs_input_grad = True
    assert model.needs_input_grad is model.rnn.needs_input_grad is True


def test_float32_stays_float32_without_a_state_and_with_a_wide_gradient_of_it():
    rnn, x = ours.RNN(3, 4), np.ones((5, 2, 3), np.float32)
    output, state = rnn(x)
    dx, _ = rnn.backward(np.ones_like(output), np.ones_like(state, np.float64))
    assert dx is not None and {a.dtype for a in (output, state, dx)} == {np.dtype(np.float32)}
    model = ours.RNNClassifier(3, 4, 2)
    back = model.backward(np.ones_like(model(x)))
    assert back is not None and back.dtype == np.float32

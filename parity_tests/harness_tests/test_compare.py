"""What `compare` takes, what it leaves alone, and what it gives back."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import numpy_impl
from examples import guide_printed
from parity_tests import Uncomparable, assert_parity, compare
from parity_tests.harness.compare import command, lexicon
from parity_tests.harness.compare.fits import Sample, fits
from parity_tests.harness.compare.mapping import connect
from parity_tests.harness_tests import own

nn, F, optim = torch.nn, torch.nn.functional, torch.optim
schedule = optim.lr_scheduler


def words(result: Any) -> str:
    """The text in one line: it is wrapped for a terminal."""
    return " ".join(result.text().split())


# ---- right code is never flagged -----------------------------------------------------------------


def einsum_linear(x, W, b):
    return np.einsum("ni,io->no", x, W) + b


def loop_linear(x, W, b):
    return np.stack([[sum(row * column) for column in W.T] for row in x]) + b


def fortran_linear(x, W, b):
    return np.asfortranarray(np.asfortranarray(x) @ np.asfortranarray(W)) + b


def softmax_by_logsumexp(x):
    top = x.max(-1, keepdims=True)
    return np.exp(x - top - np.log(np.exp(x - top).sum(-1, keepdims=True)))


def layer_norm_forward(x, gamma, beta, eps=1e-5):
    d = x - x.sum(-1, keepdims=True) / x.shape[-1]
    rstd = (np.einsum("...i,...i->...", d, d)[..., None] / x.shape[-1] + eps) ** -0.5
    return d * (rstd * gamma) + beta, (d, rstd, gamma)


def layer_norm_backward(dout, cache):
    d, rstd, gamma = cache
    g, n = dout * gamma, d.shape[-1]
    total = g.sum(-1, keepdims=True) + d * rstd**2 * (g * d).sum(-1, keepdims=True)
    return (n * g - total) * rstd / n, (dout * d * rstd).sum(0), dout.sum(0)


def gelu(x):
    from math import erf

    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


class Keeper:
    """Parameters in a dict, gradients in another, forward under another name."""

    def __init__(self, n_in, n_out):
        self.params = {"W1": np.zeros((n_in, n_out), np.float32), "b1": np.zeros(n_out, np.float32)}
        self.grads = {}

    def __call__(self, x):
        self.x = x
        return x @ self.params["W1"] + self.params["b1"]

    def backward(self, grad_output):
        self.grads["dW1"], self.grads["db1"] = self.x.T @ grad_output, grad_output.sum(0)
        self.dinputs = grad_output @ self.params["W1"].T


class Updater(own.Linear):
    """Updates itself in backward, as many tutorials do."""

    def backward(self, output_gradient, learning_rate):  # type: ignore[override]
        dx = output_gradient @ self.W.T
        self.W -= learning_rate * self.x.T @ output_gradient
        self.b -= learning_rate * output_gradient.sum(0, keepdims=True)
        return dx


RIGHT: dict[str, Any] = {
    "linear": (own.Linear, nn.Linear, {"args": (4, 3), "inputs": ((5, 4),)}),
    "linear by einsum": (einsum_linear, nn.Linear(4, 3), {"inputs": ((5, 4),)}),
    "linear by loops": (loop_linear, nn.Linear(4, 3), {"inputs": ((5, 4),)}),
    "linear in F order": (fortran_linear, nn.Linear(4, 3), {"inputs": ((5, 4),)}),
    "parameters in a dict": (Keeper, nn.Linear, {"args": (4, 3), "inputs": ((5, 4),)}),
    "an update in backward": (Updater, nn.Linear, {"args": (4, 3), "inputs": ((5, 4),)}),
    "layer norm": (own.LayerNorm, nn.LayerNorm, {"args": (8,), "inputs": ("5x8",)}),
    "layer norm fused, functions": (
        layer_norm_forward,
        nn.LayerNorm(8),
        {"inputs": ((5, 8),), "backward": layer_norm_backward},
    ),
    "batch norm": (own.BatchNorm, nn.BatchNorm1d, {"args": (5,), "inputs": ((7, 5),)}),
    "softmax": (
        own.softmax,
        nn.Softmax(-1),
        {"inputs": ((5, 4),), "backward": own.softmax_backward},
    ),
    "softmax by logsumexp": (
        softmax_by_logsumexp,
        F.softmax,
        {"inputs": ((5, 4),), "torch_kwargs": {"dim": -1}},
    ),
    "cross-entropy": (own.CrossEntropy, nn.CrossEntropyLoss(), {}),
    "mean squared error": (own.MSE, nn.MSELoss(), {}),
    "gelu": (gelu, nn.GELU(), {"inputs": ((5, 4),)}),
    "convolution": (own.Conv, nn.Conv2d, {"args": (2, 3, 3), "inputs": ((2, 2, 5, 6),)}),
    "attention": (own.attention, F.scaled_dot_product_attention, {"inputs": ((2, 5, 4),) * 3}),
    "lstm": (own.LSTM, nn.LSTM, {"args": (3, 4), "inputs": ((5, 2, 3),)}),
    "adam": (own.Adam, optim.Adam, {"kwargs": {"lr": 0.02, "betas": (0.8, 0.99)}}),
    "sgd": (own.SGD, optim.SGD, {"kwargs": {"lr": 0.05, "momentum": 0.9}}),
    "our adam": (numpy_impl.optim.Adam, optim.Adam, {"kwargs": {"lr": 0.02, "weight_decay": 0.1}}),
    "cosine": (
        lambda t, lr: lr * np.cos(np.pi * t / 40) ** 2,
        schedule.CosineAnnealingLR,
        {"numpy_kwargs": {}, "torch_kwargs": {"T_max": 20}, "lr": 0.1, "steps": 20},
    ),
    "our linear": (numpy_impl.nn.Linear, nn.Linear, {"args": (4, 3), "inputs": ((5, 4),)}),
    "a net": (
        own.Net(own.Linear(4, 6), own.ReLU(), own.Linear(6, 3)),
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
        {"inputs": ((5, 4),)},
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_agrees_however_it_is_written(name):
    mine, theirs, call = RIGHT[name]
    result: Any = compare(mine, theirs, **call)
    assert result, words(result)
    assert result.first is None and result.cause == "" and words(result).startswith("PASS")
    assert result.places


@pytest.mark.parametrize("name", ["linear", "layer norm", "softmax", "cross-entropy", "batch norm"])
def test_right_code_agrees_in_float32_and_with_other_seeds(name):
    mine, theirs, call = RIGHT[name]
    if name != "batch norm":  # its ddof=1 variance of few rows is float64 from a Python float
        assert_parity(mine, theirs, dtype="float32", **call)
    assert_parity(mine, theirs, seed=7, **call)


def test_float64_where_float32_is_asked_for_is_a_matter_of_dtype():
    result: Any = compare(
        lambda x: np.tanh(x.astype(float)), nn.Tanh(), inputs=((5, 4),), dtype="float32"
    )
    assert not result and "dtype" in result.first.label, words(result)


# ---- the guide's classes as printed --------------------------------------------------------------


def guide():
    return vars(guide_printed)


def test_the_guides_adam_shares_its_step_count():
    result: Any = compare(guide()["AdamOptimizer"], optim.Adam)
    assert result.first.label.startswith("two parameters: step 1 parameter 1")
    assert "step count" in result.cause and "one parameter" in result.places


def test_the_guides_adam_agrees_on_one_parameter_under_its_own_argument_names():
    result: Any = compare(
        guide()["AdamOptimizer"], optim.Adam, kwargs={"learning_rate": 0.02, "beta1": 0.8}
    )
    assert {"one parameter", "gradients from 1e-9 to 1e3"} <= set(result.places)


def test_the_guides_batch_norm_tracks_the_biased_variance_and_starts_at_the_first_batch():
    result: Any = compare(guide()["BatchNormalization"](), nn.BatchNorm1d(5))
    said = " ".join(f"{c.label}: {c.text} {c.also}" for c in result.causes)
    assert {"forward output", "buffer running_mean"}.isdisjoint(g.label for g in result.gaps)
    assert "(N-1)/N" in said or "biased" in said, words(result)
    assert "buffer running_mean from the start" in said
    assert "gradients are not compared" in words(result) and "gamma is one number" in words(result)


def test_the_guides_mlp_differentiates_another_loss_than_it_prints():
    layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU())
    result: Any = compare(
        guide()["DeepMLP"], layers, numpy_args=([4, 6, 3],), inputs=((5, 4),), loss=nn.MSELoss()
    )
    assert result.first.label == "gradient 0.weight" and "n_out/2" in result.cause
    assert {"tap 1", "forward output"} <= set(result.places)
    assert "weights.0 is stored transposed" in words(result)
    with pytest.raises(Uncomparable, match="say which loss"):
        compare(guide()["DeepMLP"], layers, numpy_args=([4, 6, 3],), inputs=((5, 4),))


def test_the_guides_residual_block_forward_agrees():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(4, 7), nn.Linear(7, 4)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x))) + x

    assert_parity(guide()["ResidualBlock"](4, 7, 4), Block(), inputs=((5, 4),))


def test_the_guides_dropout_is_held_to_its_own_mask():
    dropout = guide()["dropout"]
    assert_parity(dropout, nn.Dropout(0.3), numpy_kwargs={"dropout_rate": 0.3}, inputs=((40, 30),))
    result: Any = compare(
        dropout, nn.Dropout(0.7), numpy_kwargs={"dropout_rate": 0.3}, inputs=((40, 30),)
    )
    assert "probability to keep" in result.cause


def test_the_guides_schedules_and_penalties():
    scheduler, names = guide()["LearningRateScheduler"], {"decay_rate": 0.9}
    assert_parity(
        scheduler, schedule.ExponentialLR, numpy_kwargs=names, torch_kwargs={"gamma": 0.9}
    )
    result: Any = compare(
        scheduler,
        schedule.PolynomialLR,
        numpy_kwargs={**names, "decay_type": "polynomial"},
        torch_kwargs={"total_iters": 30},
    )
    assert "inverse-time decay" in result.cause
    result = compare(guide()["l2_regularization"], lambda w: 0.005 * (w**2).sum(), inputs=((4, 3),))
    assert "= 2 * reference" in result.cause


def test_a_schedule_from_the_first_rate_differs_once_the_rate_is_changed_by_hand():
    class Closed:
        def __init__(self, optimizer, gamma):
            self.optimizer, self.gamma, self.t = optimizer, gamma, 0
            self.first = optimizer.param_groups[0]["lr"]

        def step(self):
            self.t += 1
            self.optimizer.param_groups[0]["lr"] = self.first * self.gamma**self.t

    result: Any = compare(Closed, schedule.ExponentialLR, kwargs={"gamma": 0.9}, lr=0.1)
    assert result.first.label == "learning rate after a change by hand", words(result)
    assert "closed form" in result.cause or "only a rate changed by hand" in words(result)
    assert_parity(
        numpy_impl.optim.lr_scheduler.ExponentialLR,
        schedule.ExponentialLR,
        kwargs={"gamma": 0.9},
        lr=0.1,
    )


# ---- which parameter is which --------------------------------------------------------------------


class Vague:
    def __init__(self, d):
        self.first, self.second = np.ones(d), np.zeros(d)

    def forward(self, x):
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * self.first + self.second


def test_an_ambiguous_map_is_an_error_that_lists_the_candidates():
    with pytest.raises(Uncomparable) as error:
        compare(Vague, nn.LayerNorm, args=(8,), inputs=((5, 8),))
    for part in ("weight", "bias", "first (8,)", "second (8,)", "params={'first': "):
        assert part in str(error.value)
    assert_parity(Vague, nn.LayerNorm, args=(8,), inputs=((5, 8),), params={"first": "weight"})


@pytest.mark.parametrize(
    "params, says",
    [
        ({"third": "weight"}, "the NumPy side has first"),
        ({"first": "wait"}, "the torch side has weight"),
        ({"first": "weight[1,2]"}, "wanted an order of 0..n-1"),
    ],
)
def test_a_wrong_map_says_what_there_is(params, says):
    with pytest.raises(Uncomparable, match=re.escape(says)):
        compare(Vague, nn.LayerNorm, args=(8,), inputs=((5, 8),), params=params)


def test_layouts_are_recognised_and_reported_and_a_square_one_is_not_guessed():
    found = connect({"W": (4, 3), "b": (1, 3)}, {"weight": (3, 4), "bias": (3,)})
    assert [link.axes for link in found.links] == [(1, 0), None]
    assert "stored transposed" in found.notes[0]
    found = connect({"W": (4, 4)}, {"weight": (4, 4)})
    assert found.links[0].axes is None and found.free == ["weight"]
    found = connect({"W1": (4, 4), "W2": (4, 3)}, {"0.weight": (4, 4), "2.weight": (3, 4)})
    assert [link.axes for link in found.links] == [(1, 0), (1, 0)]
    assert any("is square: taken to be transposed" in note for note in found.notes)
    with pytest.raises(Uncomparable, match="axes in the orders"):
        connect({"kernel": (3, 3, 2)}, {"weight": (2, 3, 3)})


def test_gates_in_another_order_are_mapped_when_told_to():
    keras = type("Keras", (own.LSTM,), {"order": "ifog"})
    keys = {
        "W_ih": "weight_ih_l0",
        "W_hh": "weight_hh_l0",
        "b_ih": "bias_ih_l0",
        "b_hh": "bias_hh_l0",
    }
    told = {name: f"{key}[0,1,3,2]" for name, key in keys.items()}
    result: Any = assert_parity(keras, nn.LSTM, args=(3, 4), inputs=((5, 2, 3),), params=told)
    assert "holds the blocks of weight_ih_l0 in the order (0, 1, 3, 2)" in words(result)


def test_a_square_weight_told_to_be_transposed_agrees():
    result: Any = assert_parity(
        own.Linear, nn.Linear(4, 4), numpy_args=(4, 4), inputs=((5, 4),), params={"W": "weight.T"}
    )
    assert "stored transposed" in words(result)


def test_a_side_without_a_counterpart_is_noted_or_refused():
    result: Any = compare(lambda x: Vague(8).forward(x), nn.LayerNorm(8), inputs=((5, 8),))
    assert (
        result
        and "weight: yours has no counterpart; torch's is held at its default, 1" in result.notes
    )
    with pytest.raises(Uncomparable, match="no counterpart"):
        compare(lambda x: x, nn.Linear(4, 4), inputs=((5, 4),))
    one = numpy_impl.nn.Linear(4, 4)
    twice = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(Uncomparable, match=r"stand in two places\? Then 0\.weight is both's"):
        compare(numpy_impl.nn.Sequential(one, one), twice, inputs=((5, 4),))


@pytest.mark.parametrize(
    "mine, theirs, call, says",
    [
        (own.softmax, nn.Linear, {"args": (4,)}, "does not take that"),
        (own.softmax, nn.Softmax(-1), {"inputs": ("four",)}, "an input is an array"),
        (own.softmax, nn.Bilinear(2, 3, 4), {}, "say what"),
        (
            nn.Softmax(-1),
            nn.Softmax(-1),
            {"inputs": ((5, 4),)},
            "the first argument is the NumPy side",
        ),
        (lambda x, temperature: x, nn.Softmax(-1), {"inputs": ((5, 4),)}, "also wants temperature"),
        (
            own.Linear(4, 3),
            nn.Linear(5, 3),
            {"inputs": ((5, 4),)},
            "refuses inputs|no counterpart|W",
        ),
        (own.Adam, optim.Adam, {"kwargs": {"nesterov": True}}, "takes no 'nesterov'"),
        (object(), nn.Softmax(-1), {"inputs": ((5, 4),)}, "wanted a NumPy function"),
    ],
)
def test_a_call_that_cannot_be_answered_says_what_is_wanted(mine, theirs, call, says):
    with pytest.raises(Uncomparable, match=says):
        compare(mine, theirs, **call)


def test_code_that_raises_is_a_finding_not_a_crash():
    def broken(x):
        raise ZeroDivisionError("by nought")

    result: Any = compare(broken, nn.Tanh(), inputs=((5, 4),))
    assert not result and "by nought" in result.cause and "line" in result.cause


@pytest.mark.parametrize("returned", [None, "text", [], {}])
def test_a_forward_that_gives_no_array_does_not_pass(returned):
    result: Any = compare(lambda x: returned, nn.Tanh(), inputs=((5, 4),))
    assert not result and "wanted an array back" in result.cause


def test_a_mistake_in_backward_alone_is_named_as_such():
    def backward(dout, cache):
        d, rstd, gamma = cache
        return layer_norm_backward(dout, (d, rstd, np.ones_like(gamma)))

    result: Any = compare(layer_norm_forward, nn.LayerNorm(8), inputs=((5, 8),), backward=backward)
    assert result.first.label == "gradient input 0"
    assert result.cause.startswith("in backward only: yours ignores weight"), words(result)


# ---- what comes back -----------------------------------------------------------------------------


def wrong_softmax(x):
    return 2 * own.softmax(x)


def test_the_result_has_text_json_and_a_script_that_runs(tmp_path, capsys):
    result: Any = compare(
        wrong_softmax, nn.Softmax, torch_kwargs={"dim": -1}, numpy_kwargs={}, inputs=((5, 4),)
    )
    text = words(result)
    for part in (
        "FAIL",
        "where :",
        "what :",
        "why :",
        "20 of 20 elements",
        "smallest tolerance",
    ):
        assert part in text
    data = json.loads(result.json())
    assert data["agree"] is False and data["cause"] == "yours = 2 * reference"
    assert data["first"]["label"] == "forward output" and data["first"]["total"] == 20
    script = tmp_path / "again.py"
    script.write_text(result.repro())
    runpy.run_path(str(script))
    assert "yours = 2 * reference" in capsys.readouterr().out


def test_assert_parity_gives_the_text():
    with pytest.raises(AssertionError, match=r"yours = 2 \* reference"):
        assert_parity(wrong_softmax, nn.Softmax(-1), inputs=((5, 4),))


def test_nan_and_infinity_are_compared_by_place():
    def forward(x):
        y = np.tanh(x)
        y[..., 0] = np.nan
        return y

    result: Any = compare(forward, nn.Tanh(), inputs=((5, 4),))
    assert "yours has 5 NaN and 0 infinite, the reference 0 NaN" in words(result)
    assert not compare(lambda x: np.full_like(x, np.nan), nn.Tanh(), inputs=((5, 4),))


def test_handed_mistakes_are_suspects():
    def cube(x):
        return x**3 + np.tanh(x)

    result: Any = compare(
        lambda x: x**3 + np.tanh(x), nn.Tanh(), inputs=((5, 4),), mistakes={"a cube too many": cube}
    )
    assert "a cube too many" in result.cause


def test_a_cause_is_not_named_on_the_strength_of_one_draw():
    rng = np.random.default_rng(0)
    tables: dict[bytes, float] = {}

    def noisy(x):
        return np.tanh(x) * tables.setdefault(x.tobytes(), 1 + rng.random())

    result: Any = compare(noisy, nn.Tanh(), inputs=((5, 4),))
    assert result.cause == "unknown" and "another c for each draw" in words(result)


def test_a_number_is_named_only_if_the_name_holds_at_every_size():
    assert lexicon.name_of([0.2, 0.125], [{"N": 5}, {"N": 8}])[0] == "1/N"
    assert "1/N" not in lexicon.name_of([0.25, 0.25], [{"N": 4}, {"N": 7}])
    assert lexicon.name_of([np.sqrt(7 / 8)] * 2, [{"C": 8}] * 2)[0] == "sqrt((C-1)/C)"
    assert lexicon.name_of([0.0123456], [{"N": 5}]) == []


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda r: r.T.copy() if r.shape[0] == r.shape[1] else r, "transposed"),
        (lambda r: r[::-1], "flipped along axis 0"),
        (lambda r: np.roll(r, 1, 1), "rolled"),
        (lambda r: r[:, [2, 0, 3, 1]], "in the order"),
        (lambda r: r + 0.5, r"reference \+ 0.5"),
        (lambda r: np.sqrt(np.abs(r)), "sqrt"),
        (lambda r: r.astype(np.float32), "rounded to float32"),
        (lambda r: np.clip(r, -0.5, 0.5), "held between"),
    ],
)
def test_generic_fits(make, says):
    rng = np.random.default_rng(1)
    references = [rng.standard_normal((4, 4)) for _ in range(3)]
    best = fits([Sample(make(r), r, 1e-15) for r in references])[0]
    assert best.exact and best.complete and re.search(says, best.text), best


# ---- the shell -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, status, says",
    [
        ("{own}:LayerNorm torch.nn:LayerNorm --args 8 --input 4x8", 0, "PASS"),
        ("{own}:softmax torch.nn:Softmax --torch-args dim=0 --input 5x4", 1, "dim="),
        (
            "{own}:softmax torch.nn:Softmax --torch-args dim=-1 --input 5x4 --json",
            0,
            '"agree": true',
        ),
        ("{own}:nothing torch.nn:Softmax --input 5x4", 2, "has no 'nothing'; it has np, Linear"),
        ("{own}:Linear torch.nn:Gelu --input 5x4", 2, "torch.nn has no 'Gelu'; it has GELU"),
        ("nowhere.py:x torch.nn:Softmax --input 5x4", 2, "there is no file nowhere.py"),
        (
            "{own}:Linear torch.nn:Linear --args 4 4 --params W=weight.T --input 5x4",
            0,
            "stored transposed",
        ),
    ],
)
def test_the_command(words, status, says, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args(words.format(own=own.__file__).split())
    assert command.run(args) == status
    said = capsys.readouterr()
    assert says in said.out + said.err


def test_importing_the_package_stays_light():
    code = (
        "import sys, parity_tests; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(numpy_impl.__file__).parents[1]
    )


def tied(nn, last=None):
    square = nn.Linear(4, 4)
    return nn.Sequential(nn.Linear(3, 4), square, nn.Tanh(), square, last or nn.Tanh())


def test_a_layer_used_in_two_places_has_one_set_of_parameters():
    result = compare(tied(numpy_impl.nn).double(), tied(torch.nn), inputs=((5, 3),))
    assert result, result.text()
    assert not compare(
        tied(numpy_impl.nn, numpy_impl.nn.ReLU()).double(), tied(torch.nn), inputs=((5, 3),)
    )

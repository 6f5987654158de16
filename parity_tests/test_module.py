"""The frame against torch.nn: parameters, modules, containers, no_grad, state."""

import copy
import pickle
import threading
from typing import Any, cast

import numpy as np
import pytest
import torch

from numpy_impl import nn
from parity_tests.harness.bridge import to_numpy


def network(nn):
    """The same small network from either front door."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Identity(), nn.Linear(4, 4, bias=False)))
    net.append(nn.Linear(4, 2))
    return net


class Tied(nn.Module):
    """Two names for one layer and for one weight, a free name, and buffers."""

    count: Any
    whole: Any

    def __init__(self):
        self.first = nn.Linear(2, 2)
        self.second = self.first
        self.third = None
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.BatchNorm1d(2), self.first])
        self.tied = self.layers[0].weight
        self.register_buffer("count", np.zeros(2, np.float32))
        self.register_buffer("nothing", None)
        self.scale = nn.Parameter(np.ones(1, np.float32))


class TorchTied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 2)
        self.second = self.first
        self.third = None
        self.layers = torch.nn.ModuleList(
            [torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), self.first]
        )
        self.tied = self.layers[0].weight
        self.register_buffer("count", torch.zeros(2))
        self.register_buffer("nothing", None)
        self.scale = torch.nn.Parameter(torch.ones(1))


@pytest.mark.parametrize("pair", [(network(nn), network(torch.nn)), (Tied(), TorchTied())])
def test_names_keys_and_text_are_torchs(pair):
    ours, theirs = pair
    assert repr(ours) == repr(theirs).replace("TorchTied", "Tied")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [k for k, _ in ours.named_parameters()] == [k for k, _ in theirs.named_parameters()]
    assert [k for k, _ in ours.named_buffers()] == [k for k, _ in theirs.named_buffers()]
    assert [k for k, _ in ours.named_modules()] == [k for k, _ in theirs.named_modules()]
    assert [k for k, _ in ours.named_children()] == [k for k, _ in theirs.named_children()]
    for walk in ("parameters", "buffers", "modules"):
        assert len(list(getattr(ours, walk)())) == len(list(getattr(theirs, walk)()))
    for recurse in (True, False):
        for walk in ("named_parameters", "named_buffers"):
            own = [k for k, _ in getattr(ours, walk)("net", recurse=recurse)]
            assert own == [k for k, _ in getattr(theirs, walk)("net", recurse=recurse)]
        for walk in ("parameters", "buffers"):
            own = [tuple(x.shape) for x in getattr(ours, walk)(recurse)]
            assert own == [tuple(x.shape) for x in getattr(theirs, walk)(recurse)]
    named = [k for k, _ in ours.named_modules(prefix="net")]
    assert named == [k for k, _ in theirs.named_modules(prefix="net")]
    assert [type(m).__name__ for m in ours.children()] == [
        type(m).__name__ for m in theirs.children()
    ]
    assert list(ours.state_dict("a.")) == list(theirs.state_dict(prefix="a."))


def test_the_state_dict_is_alive_and_a_torch_one_loads():
    ours, theirs = network(nn), network(torch.nn)
    state = ours.state_dict()
    result = ours.load_state_dict(theirs.state_dict())
    assert result == ([], []) and result.missing_keys == []
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(state[key], value.numpy())
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-5, atol=1e-6)


def test_load_state_dict_says_everything_that_is_wrong_and_changes_nothing():
    net = network(nn)
    before = copy.deepcopy(net.state_dict())
    wrong = {**before, "0.weight": np.zeros((9, 9)), "extra": np.zeros(1)}
    del wrong["2.bias"]
    wrong["another"] = np.zeros(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(wrong)
    assert str(error.value) == (
        "Error(s) in loading state_dict for Sequential:"
        "\n\tUnexpected key(s) in state_dict: 'extra', 'another'."
        "\n\tMissing key(s) in state_dict: '2.bias'."
        "\n\tsize mismatch for 0.weight: copying a param with shape (9, 9) from checkpoint, the "
        "shape in current model is (4, 3)."
    )
    del wrong["another"], wrong["2.weight"]
    with pytest.raises(RuntimeError, match="'2.weight', '2.bias'"):
        net.load_state_dict(wrong)
    wrong["2.weight"] = before["2.weight"]
    with pytest.raises(RuntimeError, match="size mismatch"):
        net.load_state_dict(wrong, strict=False)
    with pytest.raises(RuntimeError, match="0.weight: wanted numbers, got dtype <U1"):
        net.load_state_dict({**before, "0.weight": np.full((4, 3), "a")})
    with pytest.raises(RuntimeError, match="0.weight: Got unsupported ScalarType BFloat16"):
        net.load_state_dict({**before, "0.weight": torch.zeros(4, 3, dtype=torch.bfloat16)})
    half, misfit = torch.zeros(4, 3, dtype=torch.bfloat16), np.zeros(9)
    with pytest.raises(RuntimeError, match=r"BFloat16(.|\n)*size mismatch for 2.bias"):
        net.load_state_dict({**before, "0.weight": half, "2.bias": misfit})
    with pytest.raises(TypeError, match="dict-like, got <class 'list'>"):
        net.load_state_dict([1, 2])
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    for whole in (np.int64, np.uint8, bool, np.float64):
        net.load_state_dict({k: np.ones(v.shape, whole) for k, v in before.items()})
        assert all((v == 1).all() and v.dtype == np.float32 for v in net.state_dict().values())
    norm = nn.BatchNorm1d(2)
    norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(3.5)})
    assert norm.num_batches_tracked == 3
    net.load_state_dict(before)
    del wrong["0.weight"]
    result = net.load_state_dict(wrong, strict=False)
    assert result == (["0.weight", "2.bias"], ["extra"])


def test_sequential_goes_back_through_every_layer():
    torch.manual_seed(0)  # weights of which no gradient is the difference of two larger ones
    ours, theirs = network(nn).double(), network(torch.nn).double()
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
    leaf = torch.from_numpy(x).requires_grad_()
    theirs(leaf).backward(torch.from_numpy(dy))
    ours(x)
    np.testing.assert_allclose(ours.backward(dy), to_numpy(leaf.grad), rtol=1e-13)
    for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-13, err_msg=key)


def test_a_layer_that_refuses_takes_back_what_earlier_layers_saved():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)).double()
    good = nn.Sequential(net[0], nn.Linear(4, 2).double())
    x = np.ones((2, 3))
    good(x)
    with pytest.raises(ValueError, match=r"\(\*, 5\), got \(2, 4\)"):
        net(x)
    assert len(net[0]._saved) == 1  # the good network's is still there
    good.backward(np.ones((2, 2)))
    with pytest.raises(RuntimeError, match="Linear.backward has no forward"):
        good.backward(np.ones((2, 2)))
    net[0](x)  # the last thing saved before the network refuses
    with pytest.raises(ValueError, match="got"):
        net(x)
    with pytest.raises(RuntimeError, match=r"Linear.backward .* \(2, 4\), got \(3,\)"):
        net[0].backward(np.ones(3))
    assert net[0].backward(np.ones((2, 4))).shape == (2, 3)
    net[0].discard_saved()  # nothing there, nothing said


def test_no_grad_is_a_context_a_decorator_nests_and_stays_in_its_thread():
    layer = nn.Linear(2, 2)
    x = np.ones((1, 2), np.float32)

    @nn.no_grad()
    def predict(depth):
        assert nn.is_grad_enabled() is False
        return predict(depth - 1) if depth else layer(x)

    predict(2)
    with nn.no_grad(), nn.no_grad():
        layer(x)
    with pytest.raises(ZeroDivisionError), nn.no_grad():
        1 / 0  # noqa: B018
    assert nn.is_grad_enabled()
    assert not layer._saved
    seen = []
    with nn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(nn.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_parameters_are_copies_that_optimizers_can_hold_on_to():
    values = np.ones((2, 3))
    p = nn.Parameter(values)
    p.data += 1
    assert values.sum() == 6 and p.shape == (2, 3) and p.ndim == 2 and p.numel() == 6
    np.testing.assert_array_equal(np.asarray(p), p.data)
    assert np.asarray(p, dtype=np.float32).dtype == p.__array__(np.float32).dtype == np.float32
    assert np.shares_memory(np.asarray(p), p.data) and not np.shares_memory(np.array(p), p.data)
    assert repr(p) == f"Parameter containing:\n{p.data!r}"
    assert nn.Parameter(np.ones((3, 2), order="F")).data.flags.c_contiguous
    assert p.requires_grad and not nn.Parameter(values, requires_grad=False).requires_grad
    layer = Tied()
    layer.register_buffer("whole", np.array(3))
    held, values = layer.first.weight, layer.first.weight.data
    assert layer.to(np.float32) is layer and layer.first.weight.data is values
    count, held.grad = layer.count, np.ones((2, 2), np.float32)
    grad = held.grad
    layer.float()
    assert held.grad is grad and layer.count is count
    layer.double()
    assert layer.first.weight is held and held.dtype == np.float64
    assert held.grad.dtype == layer.count.dtype == np.float64 and layer.whole.dtype == np.int64
    layer.float()
    assert held.dtype == held.grad.dtype == layer.count.dtype == np.float32
    for bad in ([1, 2], np.arange(3), np.ones(2, np.float16), np.ones(2, complex)):
        with pytest.raises(TypeError, match="a Parameter's data must be float32 or float64, got"):
            nn.Parameter(bad)
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        layer.to(np.int64)
    assert nn.Linear(2, 2, dtype=cast(Any, None)).weight.dtype == np.float32, "torch's default"
    with pytest.raises(TypeError, match="^input must be a NumPy array, got list"):
        nn.Linear(2, 2)([[1.0, 2.0]])


def test_wrong_things_cannot_be_put_in_a_parameters_or_a_buffers_place():
    layer, wrong = Tied(), cast(Any, np.ones(2))
    with pytest.raises(TypeError, match=r"write into weight.data; got ndarray"):
        setattr(layer.first, "weight", np.zeros((2, 2)))  # noqa: B010 - what types forbid
    with pytest.raises(TypeError, match="count is a buffer: wanted an array, got int"):
        layer.count = 3
    layer.first.weight = nn.Parameter(np.zeros((2, 2), np.float32))
    layer.count = np.ones(2, np.float32)
    layer.first.bias = None
    delattr(layer, "count")  # noqa: B043
    assert "count" not in layer.state_dict()
    layer.register_parameter("free", None)
    with pytest.raises(TypeError, match="free must be a Parameter, got ndarray"):
        layer.register_parameter("free", wrong)
    layer.register_parameter("free", nn.Parameter(np.ones(1)))
    assert "free" in layer.state_dict()
    layer.register_buffer("count", np.zeros(1))
    layer.register_buffer("count", None)
    layer.register_buffer("count", np.zeros(1))
    assert list(layer.state_dict()).count("count") == 1
    assert [k for k, _ in layer.named_buffers(recurse=False)] == ["count"]
    layer.register_module("child", None)
    with pytest.raises(TypeError, match="child must be a Module, got ndarray"):
        layer.register_module("child", wrong)
    layer.add_module("child", nn.Identity())
    assert "child" in dict(layer.named_children())
    assert "first.bias" not in layer.state_dict()
    with pytest.raises(TypeError, match="is not a Module"):
        nn.Sequential(nn.Linear(2, 2), np.tanh)
    with pytest.raises(ValueError, match=r"boolean, got array\(\[1., 1.\]\)"):
        layer.train(wrong)
    for name in ("forward", "backward"):
        with pytest.raises(NotImplementedError, match=f"Tied has no {name}"):
            getattr(layer, name)(np.ones(2))


def test_copies_and_pickles_are_whole_and_independent():
    net = network(nn)
    net(np.ones((1, 3), np.float32))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net)
        twin[0].weight.data += 1
        assert not np.array_equal(twin[0].weight.data, net[0].weight.data)
        with pytest.raises(RuntimeError, match="no forward"):
            twin.backward(np.ones((1, 2), np.float32))
    net.backward(np.ones((1, 2), np.float32))


def test_apply_and_freezing_reach_every_module():
    seen = []
    net = network(nn)
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    others = []
    network(torch.nn).apply(lambda m: others.append(type(m).__name__))
    assert seen == others
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert all(p.requires_grad for p in net.requires_grad_().parameters())


class Titled(nn.Module):
    """A text of its own, and children under it."""

    def __init__(self):
        self.inner = nn.Sequential(nn.Linear(1, 2), nn.Identity())

    def extra_repr(self):
        return "a title"


class TorchTitled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Identity())

    def extra_repr(self):
        return "a title"


def test_a_title_stands_above_the_children_as_torchs_does():
    assert repr(Titled()) == repr(TorchTitled()).replace("TorchTitled", "Titled")


@pytest.mark.parametrize("nn, ones", [(nn, np.ones), (torch.nn, lambda s: torch.ones(s).double())])
def test_forward_hooks_see_replace_and_let_go_as_torchs_do(nn, ones):
    model, x, seen = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double(), ones((2, 3)), []
    modules = {module: name for name, module in model.named_modules()}
    for module, name in modules.items():
        module.register_forward_hook(
            lambda m, args, y, name=name: seen.append((name, tuple(y.shape), modules[m]))
        )
    first = model[0].register_forward_hook(lambda module, args, y: y * 0)
    second = model[0].register_forward_hook(lambda module, args, y: y + len(args))
    model(x)
    assert seen == [("0", (2, 4), "0"), ("1", (2, 2), "1"), ("", (2, 2), "")]
    assert (model[0](x) == 1).all()
    with second:
        first.remove()
        first.remove()
        assert not (model[0](x) == 1).any()
    assert (model[0](x) == model[0].forward(x)).all()


@pytest.mark.parametrize("nn", [nn, torch.nn])
def test_layers_of_a_container_can_change_places(nn):
    net = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    net[0], net[1] = net[1], net[0]
    assert [type(layer).__name__ for layer in net] == ["Identity", "Linear"]


class Scaled(nn.Module):
    def forward(self, x, *, scale=1):
        return x * scale


def test_a_forward_takes_arguments_by_name():
    assert (Scaled()(x=np.ones(2), scale=3) == 3).all()

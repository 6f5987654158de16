"""Two callables are alike if the same call means the same to both."""

import pytest
import torch

from parity_tests.harness.signatures import incompatibilities


def torchs(input, weight=None, size_average=None, reduction="mean", *, eps=1e-5, foreach=None):
    pass


def test_what_only_one_side_needs_is_no_difference():
    def ours(x, weight=None, *, reduction="mean", eps=1e-5, dtype=float, generator=None):
        pass

    assert incompatibilities(ours, torchs) == []


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        (lambda input, weight=None, *, reduction="sum", eps=1e-5: 0, "default 'sum', torch 'mean'"),
        (lambda input, weight=None, *, reduction="mean", eps=1: 0, "default 1, torch 1e-05"),
        (lambda input, weight, *, reduction="mean", eps=1e-5: 0, "default required, torch None"),
        (lambda input, *, reduction="mean", eps=1e-5: 0, "weight: torch has it"),
        (lambda input, weight=None, *, mean=1, reduction="mean", eps=1e-5: 0, "mean: torch has no"),
        (lambda input, *, weight=None, reduction="mean", eps=1e-5: 0, "weight: keyword only"),
        (lambda input, weight=None, reduction="mean", *, eps=1e-5: 0, "reduction: must be keyword"),
        (lambda input, reduction="mean", weight=None, *, eps=1e-5: 0, "order"),
        (lambda input, weight=None, *, reduction="mean", eps=1e-5, mask: 0, "mask: torch has no"),
        (lambda data, weight=None, *, reduction="mean", eps=1e-5: 0, "data: torch has no"),
    ],
)
def test_a_difference_is_named(ours, says):
    assert any(says in text for text in incompatibilities(ours, torchs))


def test_true_is_not_one():
    assert incompatibilities(lambda flag=True: 0, lambda flag=1: 0)
    assert not incompatibilities(lambda lr=1: 0, lambda lr=1.0: 0)


def test_classes_are_compared_by_their_constructors():
    class Ours:
        def __new__(cls, *args, **kwargs):
            return super().__new__(cls)

        def __init__(self, p=0.5):
            pass

    assert incompatibilities(Ours, torch.nn.Dropout) == []
    assert incompatibilities(Ours, torch.nn.Linear)


def test_built_ins_are_read_from_their_docstrings():
    assert incompatibilities(lambda input: 0, torch.sigmoid) == []
    assert incompatibilities(lambda input, *, slope=1: 0, torch.sigmoid)


def test_what_cannot_be_read_is_a_finding():
    assert "no readable signature" in incompatibilities(lambda x: 0, torch.relu)[0]

"""Every schedule under one roof, on both sides: `optim.lr_scheduler` of the front door."""

import inspect

import torch

from numpy_impl import optim
from numpy_impl.optimization import decay, lr_scheduler, scheduler, warmup
from torch_impl.optimization import lr_scheduler as theirs

OURS_ALONE = {
    "InverseTimeLR",  # the guide's schedule, which torch leaves to LambdaLR
    "warmup_then",  # a recipe
}


def test_the_front_door_leads_to_every_schedule_there_is():
    assert optim.lr_scheduler is lr_scheduler
    gathered = {name for room in (decay, scheduler, warmup) for name in room.__all__}
    assert gathered == set(lr_scheduler.__all__) == set(theirs.__all__)


def test_all_but_the_documented_names_are_torchs_own():
    for name in lr_scheduler.__all__:
        own = getattr(torch.optim.lr_scheduler, name, None)
        assert (own is None) == (name in OURS_ALONE), name
        assert name in OURS_ALONE or getattr(theirs, name) is own, name


def test_schedules_are_schedules_and_take_the_optimizer_first():
    for side in (lr_scheduler, theirs):
        for name in side.__all__:
            thing = getattr(side, name)
            if inspect.isclass(thing):
                assert issubclass(thing, side.LRScheduler), name
                assert next(iter(inspect.signature(thing).parameters)) == "optimizer", name

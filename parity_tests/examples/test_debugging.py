"""The example finds its faults on both sides, and says so."""

from examples.datasets import load_splits
from examples.debugging import Clinic, Faults


def test_each_fault_is_found_and_mended(capsys):
    clinic = Clinic(load_splits(), quick=True)
    clinic.sample = 2
    figures = clinic.where_the_nan_came_from()
    figures |= clinic.where_the_loss_starts()
    figures |= clinic.whether_the_gradient_is_right()
    figures |= clinic.what_the_layers_put_out()
    figures |= clinic.which_rate()
    said = capsys.readouterr().out
    assert clinic.missed == 0, said
    assert clinic.faults == Faults(*[False] * 5)
    assert said.count("[found, in the same words on both sides]") == 5
    assert figures.keys() == {"range_test", "step_sizes"}


def test_what_is_sound_is_not_called_a_fault(capsys):
    clinic = Clinic(load_splits(), quick=True)
    clinic.faults = Faults(*[False] * 5)
    clinic.where_the_nan_came_from()
    clinic.where_the_loss_starts()
    clinic.what_the_layers_put_out()
    assert clinic.missed == 3 and capsys.readouterr().out.count("[NOT found]") == 3

"""Ctrl-C between two steps, never inside one."""

import contextlib
import signal
import threading

import numpy as np

import numpy_impl.architectures
import torch_impl.architectures
import torch_impl.optimization
from numpy_impl.training import interrupt as ours
from parity_tests.harness import Mistake, RuleCase
from torch_impl.training import interrupt as theirs


def interrupted(interrupt, presses, ask=True):
    """How far a step came after so many Ctrl-C in it, and where KeyboardInterrupt was raised."""
    reached = []
    try:
        with interrupt() as stop_if_asked:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
            reached.append("end of the step")
            if ask:
                stop_if_asked()
            reached.append("end of the block")
    except KeyboardInterrupt:
        reached.append("raised")
    return reached


def pressed_under_a_handler(interrupt):
    """The same where the program handles Ctrl-C itself."""
    handled = []
    before = signal.signal(signal.SIGINT, lambda *_: handled.append("handled"))
    try:
        reached = interrupted(interrupt, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    return handled + reached


def pressed_in_a_thread(interrupt):
    """The same in a thread, where no signal arrives."""
    reached = []
    thread = threading.Thread(target=lambda: reached.extend(interrupted(interrupt, 0)))
    thread.start()
    thread.join()
    return reached


def pressed_in_a_step(optimizer, press):
    """An optimizer class that calls `press` in the middle of each step."""
    return type("Pressed", (optimizer,), {"step": lambda self: (press(), optimizer.step(self))[1]})


@contextlib.contextmanager
def as_python_does():
    """Nothing is held back."""
    yield lambda: None


@contextlib.contextmanager
def holding(second=True, at_the_end=True, put_back=True):
    """interrupt_between_steps with one of its manners left out."""
    asked: list[int] = []

    def hold(number, frame):
        asked.append(number)
        if second and len(asked) > 1:
            raise KeyboardInterrupt

    def stop_if_asked():
        if asked:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield stop_if_asked
    finally:
        if put_back:
            signal.signal(signal.SIGINT, before)
    if at_the_end:
        stop_if_asked()


@contextlib.contextmanager
def handlers_kept():
    """Whatever handler is left behind in here does not stay."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class TestInterruptBetweenSteps(RuleCase):
    numpy, torch = ours.interrupt_between_steps, theirs.interrupt_between_steps
    mistakes = {
        "nothing held back": Mistake(
            as_python_does,
            "A loop in `try: ... except KeyboardInterrupt: save(model)`.",
            "The model that is saved may have half of its parameters updated.",
        ),
        "the second one held back": Mistake(
            lambda: holding(second=False),
            "A classic slip: the handler only ever sets a flag.",
            "A step that hangs can no longer be stopped but by killing the process.",
        ),
        "forgotten at the end": Mistake(
            lambda: holding(at_the_end=False),
            "A classic slip: the flag is looked at in the loop and not behind it.",
            "Ctrl-C in the last step is lost, and the script goes on.",
        ),
        "handler not put back": Mistake(
            lambda: holding(put_back=False),
            "A classic slip: signal.signal without a finally.",
            "After training Ctrl-C does nothing any more.",
        ),
    }

    def check_one_waits_for_the_end_of_the_step_and_two_do_not(self, log, rng):
        for interrupt in (type(self).numpy, theirs.interrupt_between_steps):
            with handlers_kept():
                found = interrupted(interrupt, 1)
                log.require(found == ["end of the step", "raised"], f"one: {found}")
                handler = signal.getsignal(signal.SIGINT)
                log.require(handler is signal.default_int_handler, f"left {handler} as handler")
            with handlers_kept():
                found = interrupted(interrupt, 2)
                log.require(found == ["raised"], f"two: {found}")
            with handlers_kept():
                found = interrupted(interrupt, 1, ask=False)
                log.require(
                    found == ["end of the step", "end of the block", "raised"], f"unasked: {found}"
                )
            with handlers_kept():
                found = interrupted(interrupt, 0)
                log.require(found == ["end of the step", "end of the block"], f"none: {found}")

    def check_other_handlers_and_threads_are_left_alone(self, log, rng):
        for interrupt in (type(self).numpy, theirs.interrupt_between_steps):
            found = pressed_under_a_handler(interrupt)
            log.require(found == ["handled", "end of the step", "end of the block"], f"{found}")
            found = pressed_in_a_thread(interrupt)
            log.require(found == ["end of the step", "end of the block"], f"{found}")

    def check_an_interrupted_fit_keeps_whole_steps_and_their_history(self, log, rng):
        x, y = rng.standard_normal((30, 4)), rng.integers(0, 3, 30)
        for impl in (numpy_impl, torch_impl):
            training = impl.training
            model, history = impl.architectures.DeepMLP([4, 5, 3]), training.History()
            taken: list[int] = []

            def press(taken=taken):
                taken.append(1)
                if len(taken) == 4:
                    signal.raise_signal(signal.SIGINT)

            optimizer = pressed_in_a_step(impl.optimization.SGD, press)
            try:
                model.fit(x, y, 5, 10, optimizer=optimizer, history=history)
                log.require(False, "the run was not interrupted")
            except KeyboardInterrupt:
                pass
            log.require(history.steps == 4 and history.epochs == 1, f"{history.to_dict()}")
            moved = [float(np.abs(np.asarray(p.data)).sum()) for p in model.parameters()]
            log.require(bool(np.isfinite(moved).all()), "the model is broken")
            log.require(len(model.fit(x, y, 1, 10).step_loss) == 3, "the model cannot go on")

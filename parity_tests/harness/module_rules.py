"""What holds for any module, whatever it computes: each rule is one check of every case."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import numpy_impl
from parity_tests.harness.bridge import same_stream, to_numpy, to_torch
from parity_tests.harness.budget import compare
from parity_tests.harness.case import Log
from parity_tests.harness.inputs import Array, Config, brief, same
from parity_tests.harness.limits import (
    a_gradient_of_another_dtype,
    called_alike,
    overflow_is_silent,
)
from parity_tests.harness.promised import far_from_promised
from parity_tests.harness.refusal import Refusal, raises, refused, says
from parity_tests.harness.rounding import otherwise

if TYPE_CHECKING:
    from parity_tests.harness.module_case import ModuleParity

Rule = Callable[["ModuleParity", Log, np.random.Generator, Config], None]


def finite_differences(
    case: ModuleParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """<dx, v> against the slope of <cotangent, y> along random v, by no side's backward."""
    module, given, inputs = case.sample(rng, config)
    if "cotangent" not in given:
        return
    dy = given["cotangent"]
    for mode in case.modes:
        module.train(mode == "train")
        start = copy.deepcopy(module)
        points = [f"input {i}" for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        points = points[: case.differentiable] + [
            f"state {k}" for k, _ in module.named_parameters()
        ]

        def value(at: str, v: Any, h: float, start: Any = start) -> float:
            moved = copy.deepcopy(start)
            args = [x + h * v if at == f"input {i}" else x for i, x in enumerate(inputs)]
            for k, p in moved.named_parameters():
                if at == f"state {k}":
                    p.data += h * v
            numpy_impl.manual_seed(5)
            with numpy_impl.nn.no_grad():
                return float(np.sum(dy * moved(*args)))

        run = copy.deepcopy(start)
        numpy_impl.manual_seed(5)
        run(*inputs)
        dx = run.backward(dy)
        slopes = {k.removeprefix("gradient "): g for k, g in case.label_inputs(inputs, dx).items()}
        slopes |= {f"state {k}": p.grad for k, p in run.named_parameters() if p.grad is not None}
        for at in points:
            v = rng.standard_normal(given[at].shape)
            h = 1e-5
            near = (value(at, v, h) - value(at, v, -h)) / (2 * h)
            far = (value(at, v, 2 * h) - value(at, v, -2 * h)) / (4 * h)
            ours = float(np.sum(slopes[at] * v)) if at in slopes else 0.0
            size = np.sum(np.abs(dy)) * (1 + abs(value(at, v, 0.0)))
            allowed = 4 * abs(near - far) + 1e3 * np.finfo(np.float64).eps * size / h
            log.require(
                abs(near - ours) <= allowed,
                f"{mode}: slope along {at} is {near!r} by central differences, {ours!r} by "
                f"backward; allowed {allowed:.2g}",
            )


def memory_layouts(case: ModuleParity, log: Log, rng: np.random.Generator, config: Config) -> None:
    """The same numbers however they lie in memory; nothing handed in is changed."""
    module, given, inputs = case.sample(rng, config)
    for layout, arrange in case.layouts.items():
        cast = {k: x for k, x in given.items()}
        for k in cast:
            if layout == "broadcast" and not k.startswith("state"):
                cast[k] = arrange(cast[k]).copy()

        def run(g: Mapping[str, Array], arrange: Any = arrange) -> dict[str, Array]:
            laid = {k: x if k.startswith("state") else arrange(x) for k, x in g.items()}
            kept = {k: x.copy() for k, x in laid.items()}
            found = case.run_numpy(laid, config, "train", 5)
            for k, x in laid.items():
                log.require(same(x, kept[k]), f"{k} was changed in place")
            return found

        theirs = partial(case.run_torch, config=config, mode="train", seed=5)
        nearby = otherwise(case, theirs)
        log.compare(compare(run, theirs, cast, "float64", nearby=nearby), layout)


def used_twice(case: ModuleParity, log: Log, rng: np.random.Generator, config: Config) -> None:
    """Two forwards, then two backwards: gradients add, earlier results stay as they were."""
    _, given, inputs = case.sample(rng, config)
    again = case.given(rng, list(case.inputs)[-1].of(config), case.plain(), config)
    both = given | {f"second {k}": x for k, x in again.items() if not k.startswith("state")}
    if "cotangent" not in given:
        return

    def ours(g: Mapping[str, Array]) -> dict[str, Array]:
        module = case.build(config, "float64")
        module.load_state_dict({k[6:]: x for k, x in g.items() if k.startswith("state")})
        numpy_impl.manual_seed(5)
        x1 = [x for k, x in g.items() if k.startswith("input")]
        x2 = [x for k, x in g.items() if k.startswith("second input")]
        y1 = module(*x1)
        held = np.array(y1)
        y2 = module(*x2)
        log.require(same(np.asarray(y1), held), "the second forward changed the first's output")
        if not case.aliases:
            shared = any(np.may_share_memory(y, x) for y, xs in ((y1, x1), (y2, x2)) for x in xs)
            log.require(not shared, "the output shares memory with an input")
        dx2 = module.backward(g["second cotangent"])
        held_dx = [np.array(x) for x in (dx2 if isinstance(dx2, tuple) else (dx2,))]
        dx1 = module.backward(g["cotangent"])
        after = dx2 if isinstance(dx2, tuple) else (dx2,)
        unchanged = all(same(a, b) for a, b in zip(after, held_dx, strict=True))
        log.require(unchanged, "the second backward changed the first's gradient")
        found = {"forward 1": np.asarray(y1), "forward 2": np.asarray(y2)}
        found |= {f"{k} of 1": x for k, x in case.label_inputs(x1, dx1).items()}
        found |= {f"{k} of 2": x for k, x in case.label_inputs(x2, dx2).items()}
        return found | case.label_state(module)

    def theirs(g: Mapping[str, Array]) -> dict[str, Array]:
        module = case.build_torch(config, torch.float64)
        module.load_state_dict({k[6:]: to_torch(x) for k, x in g.items() if k.startswith("state")})
        torch.default_generator.manual_seed(5)
        x1 = [to_torch(x) for k, x in g.items() if k.startswith("input")]
        x2 = [to_torch(x) for k, x in g.items() if k.startswith("second input")]
        for xs in (x1, x2):
            for x in [x for x in xs if x.is_floating_point()][: case.differentiable]:
                x.requires_grad_()
        y1, y2 = module(*x1), module(*x2)
        torch.autograd.backward(
            [y1, y2], [to_torch(g["cotangent"]), to_torch(g["second cotangent"])]
        )
        found = {"forward 1": to_numpy(y1), "forward 2": to_numpy(y2)}
        for n, xs in ((1, x1), (2, x2)):
            leaves = [x for x in xs if x.requires_grad]
            found |= {f"gradient input {i} of {n}": to_numpy(x.grad) for i, x in enumerate(leaves)}
        for k, p in module.named_parameters():
            found[f"gradient {k}"] = to_numpy(p.grad if p.grad is not None else torch.zeros_like(p))
        return found | {f"buffer {k}": to_numpy(b) for k, b in module.named_buffers()}

    nearby = otherwise(case, theirs)
    log.compare(compare(ours, theirs, both, "float64", nearby=nearby), "used twice")


def backward_needs_a_forward(
    case: ModuleParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """Backward before forward, again, with a wrong shape, or after no_grad raises."""
    module, given, inputs = case.sample(rng, config)
    if "cotangent" not in given:
        log.require(True, "")
        return
    dy = given["cotangent"]
    log.require(raises(module.backward, dy), "backward before any forward did not raise")
    module(*inputs)
    wrong = np.zeros((*dy.shape, 2))
    log.require(raises(module.backward, wrong), "a gradient of a wrong shape did not raise")
    module.backward(dy)  # still there after the refused one
    before = [None if p.grad is None else p.grad.copy() for p in module.parameters()]
    log.require(raises(module.backward, dy), "a second backward did not raise")
    with numpy_impl.nn.no_grad():
        module(*inputs)
    log.require(raises(module.backward, dy), "backward after a no_grad forward did not raise")
    after = [p.grad for p in module.parameters()]
    log.require(
        all((a is None and b is None) or same(a, b) for a, b in zip(after, before, strict=True)),
        "a refused backward changed a gradient",
    )
    saved = sum(len(m._saved) for m in module.modules())
    log.require(saved == 0, f"{saved} entries stay on the stacks after all backwards")
    module.requires_grad_(False)
    module.zero_grad()
    module(*inputs)
    module.backward(dy)
    log.require(
        all(p.grad is None for p in module.parameters()), "a frozen parameter got a gradient"
    )


def state_dict_both_ways(
    case: ModuleParity, log: Log, rng: np.random.Generator, config: Config
) -> None:
    """Same keys in the same order, shapes and dtypes; each side loads the other's."""
    for dtype in ("float32", "float64"):
        ours = case.build(config, dtype)
        theirs = case.build_torch(config, getattr(torch, dtype))
        a, b = ours.state_dict(), theirs.state_dict()
        log.require(list(a) == list(b), f"keys {list(a)}, torch has {list(b)}")
        for k in a:
            alike = a[k].shape == tuple(b[k].shape) and str(a[k].dtype) == str(b[k].dtype)[6:]
            log.require(
                alike, f"{k}: {a[k].shape} {a[k].dtype}, torch {tuple(b[k].shape)} {b[k].dtype}"
            )
        values = {k: v.copy() for k, v in case.fill(ours, rng).items()}
        theirs.load_state_dict(to_torch(values))
        ours.load_state_dict(theirs.state_dict())
        log.require(all(same(v, values[k]) for k, v in ours.state_dict().items()), "torch -> NumPy")
        other = case.build_torch(config, getattr(torch, dtype))
        other.load_state_dict(to_torch(ours.state_dict()))
        back = to_numpy(dict(other.state_dict()))
        log.require(all(same(v, values[k]) for k, v in back.items()), "NumPy -> torch")
        log.require(
            raises(
                ours.load_state_dict, {**values, "no such key": np.zeros(1)}, error=RuntimeError
            ),
            "an unknown key was accepted",
        )
        for k in values:
            less = {name: v + 1 for name, v in values.items() if name != k}
            log.require(raises(ours.load_state_dict, less, error=RuntimeError), f"{k} missing")
            bad = {**{n: v + 1 for n, v in values.items()}, k: np.zeros((9, 9, 9))}
            log.require(raises(ours.load_state_dict, bad, error=RuntimeError), f"{k} misshapen")
        kept = all(same(v, values[k]) for k, v in ours.state_dict().items())
        log.require(kept, "a refused load_state_dict changed something")


def frame(case: ModuleParity, log: Log, rng: np.random.Generator, config: Config) -> None:
    """repr, kept arguments, parameter names, dtype moves and zero_grad, as torch does them."""
    ours, theirs = case.build(config, "float32"), case.build_torch(config, torch.float32)
    for name in inspect.signature(case.numpy).parameters:
        kept = getattr(theirs, name, ...)
        if isinstance(kept, int | float | str | tuple | list | None):
            found = getattr(ours, name, ...)
            log.require(type(found) is type(kept) and found == kept, f"{name} is {found!r}")
    text = type(ours).__name__ + repr(theirs).removeprefix(type(theirs).__name__)
    log.require(repr(ours) == text, f"repr {ours!r}, torch {theirs!r}")
    a = [(k, p.shape) for k, p in ours.named_parameters()]
    b = [(k, tuple(p.shape)) for k, p in theirs.named_parameters()]
    log.require(a == b, f"parameters {a}, torch {b}")
    names = [k for k, _ in ours.named_modules()]
    others = [k for k, _ in theirs.named_modules()]
    log.require(names == others, f"modules {names}, torch {others}")
    held = list(ours.parameters())
    ours.double()
    log.require(all(p.dtype == np.float64 for p in held), "double() made new parameters")
    log.require(ours.training and not any(m.training for m in ours.eval().modules()), "eval()")
    log.require(all(m.training for m in ours.train().modules()), "train()")
    module, given, inputs = case.sample(rng, config)
    if "cotangent" in given:
        module(*inputs)
        module.backward(given["cotangent"])
        held = [p for p in module.parameters() if p.grad is not None]
        module.zero_grad(set_to_none=False)
        kept = all(p.grad is not None and not p.grad.any() for p in held)
        log.require(kept, "zero_grad(set_to_none=False) left no zeros")
        module.zero_grad()
        log.require(all(p.grad is None for p in module.parameters()), "zero_grad left a gradient")


def refusals(case: ModuleParity, log: Log, rng: np.random.Generator, config: Config) -> None:
    """Bad input raises on both sides, says why, and changes nothing."""
    _, given, inputs = case.sample(rng, config)
    cases = list(case.refusals)
    listed = (inputs[0].tolist(), *inputs[1:])
    cases.append(Refusal(config, listed, "array, got (list|float)", torch=False))
    if any("weight" in k or "bias" in k for k in given):
        narrow = (inputs[0].astype(np.float32), *inputs[1:])
        alone = len(inputs) == 1  # of two float inputs torch may promote one, this side never does
        cases.append(Refusal(config, narrow, "float32", torch=alone))
        cases.append(Refusal(config, (inputs[0].astype(np.int64), *inputs[1:]), "int64"))
    for refusal in cases:
        _refuses(case, log, refusal)


def _refuses(case: ModuleParity, log: Log, refusal: Refusal) -> None:
    config = refusal.config if refusal.config is not None else dict(case.configs[0])
    what = f"{config} {brief(refusal.inputs)}"
    if refusal.inputs is None:
        said = refused(lambda: type(case).numpy(**config))
        log.require(said is not None and says(said, refusal.says), f"{what}: said {said!r}")
        if refusal.torch:
            log.require(
                refused(lambda: type(case).torch(**config)) is not None,
                f"{what}: torch accepts",
            )
        return
    module = case.build(config, "float64").train(refusal.training)
    before = copy.deepcopy(module.state_dict())
    inputs = refusal.inputs
    said = refused(lambda: module(*inputs))
    log.require(said is not None and says(said, refusal.says), f"{what}: said {said!r}")
    unchanged = all(same(v, before[k]) for k, v in module.state_dict().items())
    saved = sum(len(m._saved) for m in module.modules())
    log.require(unchanged and not saved, f"{what}: refused, but something changed")
    if refusal.torch:
        other = case.build_torch(config, torch.float64).train(refusal.training)
        accepted = refused(lambda: other(*to_torch(inputs))) is None
        log.require(not accepted, f"{what}: torch accepts it")


def one_seed(case: ModuleParity, log: Log, rng: np.random.Generator, config: Config) -> None:
    """Built from one seed and no weight copied, both start from the same numbers."""
    seed = int(rng.integers(2**40))
    takes = [inspect.signature(side).parameters for side in (case.numpy, case.torch)]
    for dtype in ("float32", "float64") if all("dtype" in names for names in takes) else ("",):
        numpy_impl.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op")
            if dtype:
                ours = type(case).numpy(**config, dtype=np.dtype(dtype))
                theirs = type(case).torch(**config, dtype=getattr(torch, dtype))
            else:
                ours, theirs = (
                    case.build(config, "float32"),
                    case.build_torch(config, torch.float32),
                )
        start = to_numpy(dict(theirs.state_dict()))
        for k, x in ours.state_dict().items():
            text = far_from_promised(x, start[k], *case.draws)
            log.require(not text, f"{k} from seed {seed}: {text}")
        alike = same_stream(numpy_impl.default_generator, torch.default_generator)
        log.require(alike, "one side drew more than the other")
    _built_as_asked(case, log, config, seed)


def _built_as_asked(case: ModuleParity, log: Log, config: Config, seed: int) -> None:
    """All in the dtype asked for, and drawn from the generator handed in as from the default."""
    takes = inspect.signature(case.numpy).parameters
    for dtype in (np.float32, np.float64) if "dtype" in takes else ():
        built = type(case).numpy(**config, dtype=dtype).state_dict()
        other = [k for k, v in built.items() if v.dtype.kind == "f" and v.dtype != dtype]
        log.require(not other, f"{other} are not {dtype.__name__}")
    if "generator" in takes:
        numpy_impl.manual_seed(seed)
        start = type(case).numpy(**config).state_dict()
        before, own = numpy_impl.get_rng_state(), numpy_impl.Generator().manual_seed(seed)
        for k, x in type(case).numpy(**config, generator=own).state_dict().items():
            log.require(same(x, start[k]), f"{k} starts otherwise from a generator of its own")
        kept = same(numpy_impl.get_rng_state(), before)
        log.require(kept, "the default generator was drawn from in place of the one handed in")


EVERY_CONFIG: dict[str, Rule] = {
    "finite differences": finite_differences,
    "one seed": one_seed,
}
ONE_CONFIG: dict[str, Rule] = {
    "memory layouts": memory_layouts,
    "used twice": used_twice,
    "backward needs a forward": backward_needs_a_forward,
    "state_dict both ways": state_dict_both_ways,
    "repr, modes, dtypes": frame,
    "refusals": refusals,
    "overflow is silent": overflow_is_silent,
    "a gradient of another dtype": a_gradient_of_another_dtype,
    "called alike": called_alike,
}

"""The torch side of a comparison: a module, a loss or a function, run on named arrays.

It can also be run *changed*: with other constructor arguments, with a parameter seen through a
function, with inputs or mode swapped. Such a changed reference is what a suspicion is tested with.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from parity_tests.harness.bridge import to_numpy, to_torch
from parity_tests.harness.compare.mapping import Uncomparable

Array = np.ndarray[Any, np.dtype[Any]]
Tensors = list[torch.Tensor]


@dataclass(frozen=True)
class Change:
    """One way in which the reference is run differently.

    Each function takes and returns tensors, so that autograd goes through it: `gradient input 0`
    stays the gradient of what was handed in.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = field(default_factory=dict)
    inputs: Callable[[Tensors], Tensors] | None = None
    output: Callable[[torch.Tensor], torch.Tensor] | None = None
    cotangent: Callable[[torch.Tensor], torch.Tensor] | None = None
    mode: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    forward: Callable[[Any, Tensors], Any] | None = None
    """What stands in for the module's own forward, or, handed None, for the function."""

    def __or__(self, other: Change) -> Change:
        def then(f: Any, g: Any) -> Any:
            return (lambda x: g(f(x))) if f and g else f or g

        state = dict(self.state)
        for key, function in other.state.items():
            state[key] = then(state.get(key), function)
        return Change(
            {**self.config, **other.config},
            state,
            then(self.inputs, other.inputs),
            then(self.output, other.output),
            then(self.cotangent, other.cotangent),
            other.mode or self.mode,
            {**self.options, **other.options},
            other.forward or self.forward,
        )


SAME = Change()
OF_NO_ACCOUNT = "device", "dtype"
UNSIGNED: dict[str, dict[str, Any]] = {
    "scaled_dot_product_attention": {"is_causal": False, "scale": None},
    "avg_pool2d": {"padding": 0, "ceil_mode": False, "count_include_pad": True},
    "conv2d": {"padding": 0, "stride": 1, "dilation": 1},
    "conv1d": {"padding": 0, "stride": 1, "dilation": 1},
    "gelu": {"approximate": "none"},
}
"""Options of functions that do not tell their signature."""


def _each_once(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state, with what is used in two places under its first name only."""
    seen: set[int] = set()
    found = {}
    for key, value in module.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            found[key] = value.detach()
        seen.add(id(value))
    return found


class _Built:
    """A module, its state (the very tensors), and what that was at the start."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.parameters = dict(module.named_parameters())
        self.state = _each_once(module)
        self.start = {k: v.clone() for k, v in self.state.items()}


class Reference:
    """A torch module (class with arguments, or instance), loss or function."""

    def __init__(
        self,
        theirs: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        loss: Any = None,
    ) -> None:
        self.theirs = theirs
        self.loss: Any = loss() if inspect.isclass(loss) else loss
        self.args, self.kwargs = to_torch(tuple(args)), to_torch(dict(kwargs or {}))
        self.is_class = inspect.isclass(theirs) or self._is_factory()
        self.is_module = isinstance(theirs, torch.nn.Module) or (
            self.is_class and (not inspect.isclass(theirs) or issubclass(theirs, torch.nn.Module))
        )
        if not self.is_module and self.is_class:
            raise Uncomparable(f"{theirs.__name__} is no torch module, function or optimizer")
        if not self.is_module and not callable(theirs):
            raise Uncomparable(f"wanted a torch module or function, got {type(theirs).__name__}")
        self._built: dict[str, _Built] = {}
        try:
            self.module = self._build({}) if self.is_module else None
        except (TypeError, ValueError) as error:
            raise Uncomparable(f"torch's {theirs.__name__} does not take that: {error}") from error
        self.parameters = [k for k, _ in self.module.named_parameters()] if self.module else []
        self.state = (
            {k: np.asarray(v.numpy()) for k, v in _each_once(self.module).items()}
            if self.module
            else {}
        )

    @property
    def name(self) -> str:
        """What to call it in a report."""
        if self.is_module:
            kind = type(self.module)
            where = "torch.nn" if kind.__module__.startswith("torch.nn") else kind.__module__
            text = repr(self.module)
            short = text if len(text) < 120 and "\n" not in text else kind.__name__ + "(...)"
            return f"{where}.{short}"
        return getattr(self.theirs, "__name__", type(self.theirs).__name__)

    # ---- making it ------------------------------------------------------------------------------

    def _is_factory(self) -> bool:
        """Whether it is a function that makes a module."""
        if not inspect.isfunction(self.theirs):
            return False
        try:
            return isinstance(self.theirs(*self.args, **self.kwargs), torch.nn.Module)
        except Exception:  # it wants tensors
            return False

    @property
    def target(self) -> Any:
        """The class, or the function: what a case of the suite calls its torch side."""
        return self.theirs if self.is_class or not self.is_module else type(self.theirs)

    def _build(self, config: Mapping[str, Any]) -> torch.nn.Module:
        if self.is_class or config:
            kind = self.target
            if config:
                arguments = {**self.config(), **config}
                module = call_with(kind, arguments)
            else:
                module = kind(*self.args, **self.kwargs)
        else:
            module = copy.deepcopy(self.theirs)
        return module.double()

    def config(self) -> dict[str, Any]:
        """The constructor's (or function's) arguments by name: given, kept, or default."""
        kind = self.target
        try:
            signature = inspect.signature(kind)
        except (TypeError, ValueError):
            return {**UNSIGNED.get(getattr(kind, "__name__", ""), {}), **self.kwargs}
        found: dict[str, Any] = {}
        given: dict[str, Any] = {}
        if self.is_class:
            given = dict(signature.bind_partial(*self.args, **self.kwargs).arguments)
        elif not self.is_module:
            given = dict(self.kwargs)
        for name, p in signature.parameters.items():
            if p.kind is p.VAR_KEYWORD:  # torch.nn.RNN names none of its arguments
                found |= {k: v for k, v in given.get(name, {}).items() if k not in OF_NO_ACCOUNT}
                continue
            if p.kind is p.VAR_POSITIONAL or name in OF_NO_ACCOUNT:
                continue
            if name in given:
                found[name] = given[name]
            elif self.is_class and p.default is not p.empty:
                found[name] = p.default
            elif self.is_module and hasattr(self.module, name):
                value = getattr(self.module, name)
                bias_like = isinstance(value, torch.Tensor) or value is None and name == "bias"
                found[name] = value is not None if bias_like else value
            elif p.default is not p.empty:
                found[name] = p.default
        if isinstance(self.module, torch.nn.MultiheadAttention):
            found["bias"] = self.module.in_proj_bias is not None
        return found

    def fresh(self, config: Mapping[str, Any], dtype: torch.dtype) -> _Built:
        """The module as built, for one run: state as at the start, no gradients."""
        key = f"{dtype} {sorted(config.items())}" if config else str(dtype)
        if key not in self._built:
            self._built[key] = _Built(self._build(config).to(dtype))
        built = self._built[key]
        with torch.no_grad():
            for name, value in built.state.items():
                value.copy_(built.start[name])
        for p in built.parameters.values():
            p.grad = None
        return built

    # ---- running it -----------------------------------------------------------------------------

    def run(
        self,
        given: Mapping[str, Array],
        mode: str = "train",
        seed: int = 0,
        set_buffers: bool = True,
        warm: Sequence[Mapping[str, Array]] = (),
        change: Change = SAME,
        taps: Sequence[str] = (),
        backward: bool = True,
    ) -> dict[str, Array]:
        """Outputs, loss, gradients and buffers by label; `taps` are submodules to listen to."""
        with warnings.catch_warnings(), _shared_mask(given.get("mask")):
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(seed)
            if self.is_module:
                return self._run_module(given, mode, set_buffers, warm, change, taps, backward)
            return self._run_function(given, change, backward)

    def _inputs(self, given: Mapping[str, Array], change: Change) -> tuple[Tensors, Tensors]:
        tensors = [to_torch(x) for k, x in given.items() if k.startswith("input")]
        leaves = [x for x in tensors if x.is_floating_point()]
        for x in leaves:
            x.requires_grad_()
        return (change.inputs(tensors) if change.inputs else tensors), leaves

    def _run_module(
        self,
        given: Mapping[str, Array],
        mode: str,
        set_buffers: bool,
        warm: Sequence[Mapping[str, Array]],
        change: Change,
        taps: Sequence[str],
        backward: bool,
    ) -> dict[str, Array]:
        single = any(x.dtype == np.float32 for x in given.values())
        built = self.fresh(change.config, torch.float32 if single else torch.float64)
        module, parameters = built.module, built.parameters
        seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        values: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for key, own in built.state.items():
            if f"state {key}" not in given or (key not in parameters and not set_buffers):
                continue
            value = torch.from_numpy(np.ascontiguousarray(given[f"state {key}"])).reshape(own.shape)
            if key in change.state:
                leaf = value.clone().requires_grad_()
                values[key] = leaf, change.state[key](leaf)
                value = values[key][1].detach()
            with torch.no_grad():
                own.copy_(value)
        module.train((change.mode or mode) == "train")
        if warm:
            training = module.training
            with torch.no_grad():
                for earlier in warm:
                    module.train()
                    tensors = [to_torch(x) for k, x in earlier.items() if k.startswith("input")]
                    module(*(change.inputs(tensors) if change.inputs else tensors))
            module.train(training)
        hooks = _listen(module, taps, seen)
        inputs, leaves = self._inputs(given, change)
        with hooks:
            raw = change.forward(module, inputs) if change.forward else module(*inputs)
        outputs = _flat(raw)
        if change.output:
            outputs = [change.output(outputs[0]), *outputs[1:]]
        found = {}
        for path, (x, y) in seen.items():
            found[f"tap {path} input"] = to_numpy(x)
            found[f"tap {path}"] = to_numpy(y)
        found |= {
            f"forward output{f' {i}' if i else ''}": to_numpy(y) for i, y in enumerate(outputs)
        }
        if backward:
            for x, y in seen.values():
                for tensor in (x, y):
                    if tensor.requires_grad:
                        tensor.retain_grad()
            found |= self._go_back(outputs, given, change)
            for path, (x, y) in reversed(seen.items()):
                if y.grad is not None:
                    found[f"tap gradient {path} output"] = to_numpy(y.grad)
                if x.grad is not None:
                    found[f"tap gradient {path}"] = to_numpy(x.grad)
            for i, x in enumerate(leaves):
                found[f"gradient input {i}"] = to_numpy(
                    torch.zeros_like(x) if x.grad is None else x.grad
                )
            for key, p in parameters.items():
                grad = torch.zeros_like(p) if p.grad is None else p.grad
                if key in change.state and key in values:
                    leaf, value = values[key]
                    if value.requires_grad:
                        (grad,) = torch.autograd.grad(value, leaf, grad, allow_unused=True)
                        grad = torch.zeros_like(leaf) if grad is None else grad
                    else:
                        grad = torch.zeros_like(leaf)
                found[f"gradient {key}"] = to_numpy(grad)
        found |= {f"buffer {k}": to_numpy(b) for k, b in module.named_buffers()}
        return found

    def _run_function(
        self, given: Mapping[str, Array], change: Change, backward: bool
    ) -> dict[str, Array]:
        inputs, leaves = self._inputs(given, change)
        options = {**self.kwargs, **change.config}
        if change.forward:
            raw: Any = change.forward(None, inputs)
        else:
            raw = self.theirs(*inputs, *self.args, **options)
        outputs = _flat(raw)
        if change.output:
            outputs = [change.output(outputs[0]), *outputs[1:]]
        found = {
            f"forward output{f' {i}' if i else ''}": to_numpy(y) for i, y in enumerate(outputs)
        }
        if backward and any(y.requires_grad for y in outputs):
            found |= self._go_back(outputs, given, change)
            for i, x in enumerate(leaves):
                found[f"gradient input {i}"] = to_numpy(
                    torch.zeros_like(x) if x.grad is None else x.grad
                )
        return found

    def _go_back(
        self, outputs: Tensors, given: Mapping[str, Array], change: Change
    ) -> dict[str, Array]:
        if self.loss is not None and "target" in given:
            loss = self.loss(outputs[0], to_torch(given["target"]))
            loss.backward()
            return {"loss": to_numpy(loss)}
        pairs = []
        for i, y in enumerate(outputs):
            name = f"cotangent{f' {i}' if i else ''}"
            if name in given and y.requires_grad:
                dy = to_torch(given[name]).reshape(y.shape)
                pairs.append((y, change.cotangent(dy) if change.cotangent else dy))
        if pairs:
            torch.autograd.backward([y for y, _ in pairs], [dy for _, dy in pairs])
        return {}

    def shape_of_output(self, inputs: Sequence[Array], mode: str = "train") -> list[Array]:
        """What comes out for these inputs (the shapes are what is wanted)."""
        found = self.run({f"input {i}": x for i, x in enumerate(inputs)}, mode, backward=False)
        return [v for k, v in found.items() if k.startswith("forward output")]


def call_with(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call with named arguments, the positional-only ones by position."""
    positional, named = [], {}
    for name, p in inspect.signature(function).parameters.items():
        if name in arguments:
            if p.kind is p.POSITIONAL_ONLY:
                positional.append(arguments[name])
            elif p.kind is p.VAR_POSITIONAL:
                positional += arguments[name]
            else:
                named[name] = arguments[name]
    return function(*positional, **named)


def _flat(raw: Any) -> Tensors:
    if isinstance(raw, torch.Tensor):
        return [raw]
    if isinstance(raw, list | tuple):
        return [y for item in raw for y in _flat(item)]
    return []


@contextlib.contextmanager
def _listen(
    module: torch.nn.Module,
    paths: Sequence[str],
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> Iterator[None]:
    """Keep the first input and output of these submodules while they run."""

    def keep(path: str) -> Callable[..., None]:
        def hook(_: Any, inputs: Any, output: Any) -> None:
            parts = _flat(output)
            if inputs and isinstance(inputs[0], torch.Tensor) and parts and path not in seen:
                seen[path] = inputs[0], parts[0]

        return hook

    def own(_: Any, inputs: Any) -> Any:
        """An input of its own: its gradient is what comes back through this submodule alone."""
        if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].requires_grad:
            return inputs[0].view_as(inputs[0]), *inputs[1:]
        return None

    handles = [module.get_submodule(p).register_forward_pre_hook(own) for p in paths]
    handles += [module.get_submodule(p).register_forward_hook(keep(p)) for p in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _shared_mask(mask: Array | None) -> Iterator[None]:
    """Dropout keeps what the mask says, so that both sides drop the same elements."""
    if mask is None:
        yield
        return
    functional: Any = torch.nn.functional
    own = functional.dropout

    def dropout(
        input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        if not training or p == 0:
            return input
        return input * torch.from_numpy(mask).to(input.dtype) / (1 - p) if p < 1 else input * 0

    functional.dropout = dropout
    try:
        yield
    finally:
        functional.dropout = own

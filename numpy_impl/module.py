"""What every layer stands on: parameters, modules, and the stack that backward reads from.

There is no autograd here. A module's `forward` puts what its `backward` will need on a stack of
its own, and `backward` takes it off again. Hence the rules a torch user knows: a layer used twice
is right (the stack gives back the later call first), and a second backward raises.

The twin of this file is torch itself.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray[Any, np.dtype[Any]]

ForwardHook = Callable[["Module", tuple[Any, ...], Any], Any]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
ARRAYS = (np.ndarray, np.generic)  # a tuple: `np.ndarray | np.generic` is built at every call


class _State(threading.local):
    """What each thread keeps: whether forwards save, and how many have."""

    grad_enabled = True
    saves = 0


_state = _State()


class no_grad(contextlib.ContextDecorator):  # noqa: N801 - torch's name
    """Inside `with no_grad():` (or under `@no_grad()`) a forward saves nothing for backward."""

    def __init__(self) -> None:
        self._outer: list[bool] = []

    def __enter__(self) -> None:
        self._outer.append(_state.grad_enabled)
        _state.grad_enabled = False

    def __exit__(self, *exc: object) -> None:
        _state.grad_enabled = self._outer.pop()


def is_grad_enabled() -> bool:
    """Whether forwards are saving for backward in this thread."""
    return _state.grad_enabled


def float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """`dtype` as one of the two this side computes in, float32 or float64; else TypeError.

    None is torch's default, float32 (NumPy takes it for float64).
    """
    found = np.dtype(np.float32 if dtype is None else dtype)
    if found not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {found}")
    return found


def as_float(x: Any, name: str = "input", dtype: np.dtype[Any] | None = None) -> Array:
    """Check that x is a floating-point array, of `dtype` if one is given; returns it as it is.

    Raises TypeError, naming what was wanted and what came.
    """
    if not isinstance(x, ARRAYS):
        raise TypeError(f"{name} must be a NumPy array, got {type(x).__name__}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
    if dtype is not None and x.dtype != dtype:
        raise TypeError(f"{name} must be {dtype} like the parameters, got {x.dtype}")
    return np.asarray(x)


class Parameter:
    """An array that training changes, and the gradient that backward adds up for it.

    Args:
        data: the values, copied; float32 and float64 keep their dtype.
        requires_grad: False freezes it: backward leaves `grad` alone.
    """

    __slots__ = ("data", "grad", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        self.data: Array = np.array(as_float(np.asarray(data), "a Parameter's data"), order="C")
        self.grad: Array | None = None
        self.requires_grad = requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    def numel(self) -> int:
        """The number of values."""
        return self.data.size

    def add_grad(self, grad: Array) -> None:
        """Add `grad` into `.grad`; the first one becomes it, so pass a fresh array.

        Frozen parameters ignore it.
        """
        if not self.requires_grad:
            return
        if self.grad is None:
            self.grad = grad
        else:
            self.grad += grad

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{self.data!r}"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class _Saved(NamedTuple):
    """One entry of a module's stack: when it was saved, what came out, what was kept."""

    serial: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    values: tuple[Any, ...]


class RemovableHandle:
    """What registering a hook gives back: `remove()` unhooks, and so does leaving a `with`."""

    _numbers = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._number = hooks, next(self._numbers)
        hooks[self._number] = hook

    def remove(self) -> None:
        """Call the hook no more; a second time does nothing."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class Module:
    """A piece of a network: parameters, buffers, children, a forward and a backward.

    Attributes that are a `Parameter` or a `Module` are found by themselves; arrays that belong to
    the state (running statistics) are named with `register_buffer`.
    """

    training: bool
    _buffers: list[str]
    _saved: list[_Saved]
    _forward_hooks: dict[int, ForwardHook]
    needs_input_grad = True
    """False lets a first layer return None from backward and spare the product nobody reads."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = super().__new__(cls)
        module.__dict__.update(training=True, _buffers=[], _saved=[], _forward_hooks={})
        return module

    # ---- forward and backward -------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output for these inputs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Any:
        """The gradient of the input, given dy, the gradient of the output; adds into `.grad`s."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        serial = _state.saves
        try:
            y = self.forward(*args, **kwargs)
            if self._forward_hooks:
                for hook in list(self._forward_hooks.values()):
                    y = y if (instead := hook(self, args, y)) is None else instead
            return y
        except BaseException:  # a later layer refused: take back what earlier ones saved
            for module in self.modules():
                while module._saved and module._saved[-1].serial > serial:
                    module._saved.pop()
            raise

    def register_forward_hook(self, hook: ForwardHook) -> RemovableHandle:
        """Call `hook(module, args, output)` after every forward that runs through `module(...)`.

        What it returns, unless None, takes the place of the output. Several hooks run in the order
        they came.
        """
        return RemovableHandle(self._forward_hooks, hook)

    def save_for_backward(self, y: Array, *values: Any) -> None:
        """Keep what backward needs to meet a gradient of the output y. Nothing under no_grad."""
        if _state.grad_enabled:
            _state.saves += 1
            self._saved.append(_Saved(_state.saves, y.shape, y.dtype, values))

    def saved_for_backward(self, dy: Any) -> tuple[Any, ...]:
        """Take back (dy, *values) of the last forward not yet gone back through.

        dy comes back in the output's dtype.

        Raises:
            RuntimeError: nothing is saved, or dy has another shape than the output had; what is
                saved then stays.
        """
        if not self._saved:
            raise RuntimeError(
                f"{type(self).__name__}.backward has no forward to go back through: none ran with "
                "gradients on, or its backward has been called already"
            )
        saved = self._saved[-1]
        dy = np.asarray(dy, dtype=saved.dtype)
        if dy.shape != saved.shape:
            raise RuntimeError(
                f"{type(self).__name__}.backward wants a gradient shaped like its output, "
                f"{saved.shape}, got {dy.shape}"
            )
        self._saved.pop()
        return dy, *saved.values

    def discard_saved(self) -> None:
        """Drop what the last forward saved: nobody asks for the gradient of its input."""
        if self._saved:
            self._saved.pop()

    # ---- what belongs to it ---------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        held = self.__dict__.get(name)
        if isinstance(held, Parameter) and not (value is None or isinstance(value, Parameter)):
            raise TypeError(
                f"{name} is a Parameter: assign a Parameter or None, or write into {name}.data; "
                f"got {type(value).__name__}"
            )
        if name in self._buffers and not (value is None or isinstance(value, np.ndarray)):
            raise TypeError(f"{name} is a buffer: wanted an array, got {type(value).__name__}")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in self._buffers:
            self._buffers.remove(name)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Make `self.<name>` a parameter; None keeps the name free."""
        if not (parameter is None or isinstance(parameter, Parameter)):
            raise TypeError(f"{name} must be a Parameter, got {type(parameter).__name__}")
        setattr(self, name, parameter)

    def register_buffer(self, name: str, array: Array | None) -> None:
        """Make `self.<name>` an array that is state but not trained; None keeps the name free."""
        if name not in self._buffers:
            self._buffers.append(name)
        setattr(self, name, array)

    def register_module(self, name: str, module: Module | None) -> None:
        """Make `self.<name>` a child; names like "0" are how containers count theirs."""
        if not (module is None or isinstance(module, Module)):
            raise TypeError(f"{name} must be a Module, got {type(module).__name__}")
        setattr(self, name, module)

    add_module = register_module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held directly, each once, in the order they were set."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules held directly."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names."""
        return self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) not in seen:
            seen.add(id(self))
            yield prefix, self
            for name, child in self.named_children():
                yield from child._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Dotted names and parameters, each parameter once, a module's own before its children's.

        With recurse=False only the module's own.
        """
        return self._named(prefix, recurse, lambda m: vars(m).items(), Parameter)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """Dotted names and buffers, each once."""
        return self._named(prefix, recurse, lambda m: m._own_buffers(), np.ndarray)

    def buffers(self, recurse: bool = True) -> Iterator[Array]:
        """The buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _own_buffers(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self._buffers]

    def _named(
        self,
        prefix: str,
        recurse: bool,
        members: Callable[[Module], Iterable[tuple[str, Any]]],
        kind: type,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in members(module):
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    # ---- modes and dtypes -----------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it in training mode."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it in evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or thaw every parameter."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient, or with set_to_none=False fill it with zeros."""
        zero_grads(self.parameters(), set_to_none)

    def to(self, dtype: DTypeLike) -> Self:
        """Convert parameters, gradients and floating-point buffers, in place.

        Parameters stay the same objects, so an optimizer that holds them goes on working.
        """
        dtype = float_dtype(dtype)
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype, copy=False)
            if parameter.grad is not None:
                parameter.grad = parameter.grad.astype(dtype, copy=False)
        for module in self.modules():
            for name, buffer in module._own_buffers():
                if buffer is not None and buffer.dtype.kind == "f":
                    setattr(module, name, buffer.astype(dtype, copy=False))
        return self

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(np.float64)

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(np.float32)

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call fn on every module below, then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ---- state ----------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Every parameter and buffer by its dotted name.

        The arrays are the live ones, as in torch: copy them to keep them (`copy.deepcopy`).
        """
        own = {name: p.data for name, p in vars(self).items() if isinstance(p, Parameter)}
        own |= {name: buffer for name, buffer in self._own_buffers() if buffer is not None}
        state = {prefix + name: array for name, array in own.items()}
        for name, child in vars(self).items():
            if isinstance(child, Module):
                state |= child.state_dict(f"{prefix}{name}.")
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values in by name; anything with `__array__` will do, torch tensors too.

        Raises:
            TypeError: it is not a mapping.
            RuntimeError: shapes differ, values are not numbers, or (strict) a name is missing or
                unknown. Nothing has been copied then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        own = self.state_dict()
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        wrong = []
        if strict and unexpected:
            wrong.append("Unexpected key(s) in state_dict: " + ", ".join(map(repr, unexpected)))
        if strict and missing:
            wrong.append("Missing key(s) in state_dict: " + ", ".join(map(repr, missing)))
        values = {}
        for key in [key for key in own if key in state_dict]:
            try:
                values[key] = value = np.asarray(state_dict[key])
            except (TypeError, RuntimeError) as error:  # a torch dtype that NumPy lacks, say
                wrong.append(f"{key}: {error}")
                continue
            if value.dtype.kind not in "fiub":
                wrong.append(f"{key}: wanted numbers, got dtype {value.dtype}")
            elif value.shape != own[key].shape:
                wrong.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from "
                    f"checkpoint, the shape in current model is {own[key].shape}"
                )
        if wrong:
            listing = "".join(f"\n\t{line}." for line in wrong)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:{listing}"
            )
        for key, value in values.items():
            np.copyto(own[key], value, casting="unsafe")
        return IncompatibleKeys(missing, unexpected)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_saved": []}  # a copy has no forward to go back through

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    # ---- text -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the brackets of `repr`."""
        return ""

    def __repr__(self) -> str:
        children = [(k, v) for k, v in vars(self).items() if isinstance(v, Module)]
        lines = [f"({name}): {indent(repr(child))}" for name, child in children]
        return repr_block(type(self).__name__, self.extra_repr(), lines)


def indent(text: str) -> str:
    """Lines after the first moved in by two."""
    return text.replace("\n", "\n  ")


def repr_block(name: str, extra: str, lines: list[str]) -> str:
    """A name and its brackets, each child on lines of its own, as torch prints them."""
    if not lines:
        return f"{name}({extra})"
    inside = "\n  ".join(([extra] if extra else []) + lines)
    return f"{name}(\n  {inside}\n)"


def zero_grads(parameters: Iterable[Parameter], set_to_none: bool) -> None:
    """Forget the gradients, or with set_to_none=False fill them with zeros."""
    for parameter in parameters:
        if set_to_none:
            parameter.grad = None
        elif parameter.grad is not None:
            parameter.grad[...] = 0

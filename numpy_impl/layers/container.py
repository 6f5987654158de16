"""Modules that hold modules: one after the other, or as a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from numpy_impl.module import Module, indent, repr_block

__all__ = ["ModuleList", "Sequential"]


class _Numbered(Module):
    """Children counted "0", "1", ...: what Sequential and ModuleList share."""

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers())

    def _layers(self) -> list[Any]:
        return [value for value in vars(self).values() if isinstance(value, Module)]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Any:
        layers = self._layers()
        if isinstance(index, slice):
            return type(self)._of(layers[index])
        if not -len(layers) <= index < len(layers):
            raise IndexError(f"index {index} is out of range for {len(layers)} modules")
        return layers[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self[index]  # raises where there is none
        names = [name for name, value in vars(self).items() if isinstance(value, Module)]
        self.register_module(names[index], module)

    def append(self, module: Module) -> Self:
        """Put one more module at the end."""
        if not isinstance(module, Module):
            raise TypeError(f"{module!r} is not a Module")
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Put more modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before `index`."""
        layers = self._layers()
        layers.insert(index, module)
        return self._renumber(layers)

    def pop(self, index: int = -1) -> Any:
        """Take a module out."""
        module = self[index]
        del self[index]
        return module

    def __delitem__(self, index: int | slice) -> None:
        layers = self._layers()
        del layers[index]
        self._renumber(layers)

    def _renumber(self, layers: list[Module]) -> Self:
        for name in [name for name, value in vars(self).items() if isinstance(value, Module)]:
            delattr(self, name)
        return self.extend(layers)

    @classmethod
    def _of(cls, layers: list[Module]) -> Self:
        return cls().extend(layers)


class Sequential(_Numbered):
    """Modules one after the other: y = f_n(...f_1(x)), dx = f_1'(...f_n'(dy)).

    Args:
        modules: the modules, or one dict of names to modules.
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
        else:
            self.extend(modules)

    def forward(self, x: Any) -> Any:
        """The last module's output."""
        for layer in self:
            x = layer(x)
        return x

    def backward(self, dy: Any) -> Any:
        """The gradient of the first module's input (None if that is not needed)."""
        for layer in reversed(self._layers()):
            if dy is None:
                layer.discard_saved()
            else:
                dy = layer.backward(dy)
        return dy

    def discard_saved(self) -> None:
        """Drop what the last forward saved, in every module."""
        for layer in self:
            layer.discard_saved()

    @property
    def needs_input_grad(self) -> bool:
        """Whether backward goes all the way to the input, or ends at the first parameters."""
        return all(layer.needs_input_grad for layer in self)

    @needs_input_grad.setter
    def needs_input_grad(self, needed: bool) -> None:
        for layer in self:
            layer.needs_input_grad = needed
            if any(True for _ in layer.parameters()):
                break


class ModuleList(_Numbered):
    """A list whose modules are found: their parameters count as the owner's. It has no forward."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(modules or [])

    def __repr__(self) -> str:
        lines: list[str] = []
        run: list[str] = []
        texts = [repr(layer) for layer in self]
        for i, text in enumerate(texts):
            run.append(str(i))
            if i + 1 == len(texts) or texts[i + 1] != text:
                name = run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}"
                times = "" if len(run) == 1 else f"{len(run)} x "
                lines.append(f"({name}): {times}{indent(text)}")
                run = []
        return repr_block("ModuleList", "", lines)

"""Carrying numbers over: arrays to tensors and back, through nested dicts and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from numpy_impl.random import Generator


def to_torch(tree: Any) -> Any:
    """The same structure with copies of its arrays as tensors."""
    if isinstance(tree, np.ndarray | np.generic):
        return torch.from_numpy(np.array(tree, order="C"))
    if isinstance(tree, dict):
        return {key: to_torch(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(to_torch(value) for value in tree)
    return tree


def to_numpy(tree: Any) -> Any:
    """The same structure with copies of its tensors as arrays."""
    if isinstance(tree, torch.Tensor):
        return tree.detach().cpu().numpy().copy()
    if isinstance(tree, dict):
        return {key: to_numpy(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(to_numpy(value) for value in tree)
    return tree


def same_stream(generator: Generator, torch_generator: torch.Generator) -> bool:
    """Whether both stand at the same place: equal states, byte for byte."""
    return np.array_equal(generator.get_state(), torch_generator.get_state().numpy())

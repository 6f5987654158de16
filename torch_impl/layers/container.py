"""Modules that hold modules: one after the other, or as a list.

Both find the parameters of what they hold because a Module looks at its attributes; a plain Python
list hides them, and an optimizer then trains nothing of what is in it. `ModuleList` has no forward:
its owner says in which order, or how often, the modules run. `Sequential` passes one value on;
where two are needed (a skip connection, an attention mask) write a Module.

What is held twice counts once in `parameters()` and twice in `state_dict()`; autograd adds up the
gradients of both uses, which the NumPy side gets from its stack.
"""

from torch.nn import ModuleList, Sequential

__all__ = ["ModuleList", "Sequential"]

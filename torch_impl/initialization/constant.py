"""Starts that draw nothing: one value everywhere, or the identity matrix.

All of torch.nn.init runs under no_grad and writes in place, so a Parameter stays the same leaf and
an optimizer made before goes on working; the functions return what they were given. They also
raise the tensor's version: a backward through a graph that saved the old values then refuses.

`eye_` fills a Linear's (out, in) weight; for convolutions there is `dirac_`.
"""

from torch.nn.init import constant_, eye_, ones_, zeros_

__all__ = ["constant_", "eye_", "ones_", "zeros_"]

"""Normal draws with the tails cut off.

a and b are values, not multiples of std: ViT-style code that calls trunc_normal_(weight, std=0.02)
cuts nothing off, since +-2 is then a hundred std away (timm's and TensorFlow's count in std).

From torch 2.12 on the draws are by rejection, so how much of the stream they take depends on the
numbers; up to 2.11 each was one uniform number through the inverse error function.
"""

from torch.nn.init import trunc_normal_

__all__ = ["trunc_normal_"]

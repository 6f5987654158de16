"""How a learning rate follows a schedule: the base of all of them, a rule of one's own, a chain.

A scheduler steps once in its constructor, which writes `initial_lr` into the groups and may
already change `lr` (LinearLR does). It replaces `optimizer.step` by a wrapper to see whether it was
called, and warns if not. `get_lr` computes the next rate: `get_last_lr` is the one to read.

A scheduler's state_dict has no rates of the optimizer's: save both. Build the schedulers first,
then load the optimizer, because building writes `lr`. LambdaLR saves callable objects but not
lambdas. SequentialLR takes back the first step of all its schedulers, then begins with the first.
"""

from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR

__all__ = ["LRScheduler", "LambdaLR", "SequentialLR"]

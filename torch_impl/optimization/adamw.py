"""Adam with weight decay that is not scaled by the gradient's size, and groups to decay.

`AdamW` is `Adam(decoupled_weight_decay=True)` with weight_decay 0.01 by default: left at its
default it decays every parameter, biases and norms too, which is what `decay_groups` is for.
Before the step p is multiplied by 1 - lr * weight_decay, so the schedule scales the decay.
"""

from typing import Any

from torch.nn import Module
from torch.optim import AdamW

__all__ = ["AdamW", "decay_groups"]


def decay_groups(model: Module, weight_decay: float = 1e-2) -> list[dict[str, Any]]:
    """Parameter groups in which matrices decay and biases and the scales of norms do not.

    Each group's own weight_decay wins over the optimizer's. Frozen parameters stay out.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]

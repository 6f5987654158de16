"""Adam with weight decay that is not scaled by the gradient's size, and groups to decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy_impl.module import Module
from numpy_impl.optimization.adam import Adam

__all__ = ["AdamW", "decay_groups"]


class AdamW(Adam):
    """Adam, with each parameter first shrunk by lr * weight_decay instead of an L2 gradient.

    Loshchilov & Hutter 2019, arXiv:1711.05101:

        p <- p - lr * weight_decay * p, then Adam's step with weight_decay 0

    As in torch the decay is multiplied by lr (the paper multiplies by the schedule alone), so a
    schedule scales both.

    Raises:
        ValueError: a negative option, or betas that are not two floats in [0, 1).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As Adam's; whatever was saved, the decay stays decoupled."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def decay_groups(model: Module, weight_decay: float = 1e-2) -> list[dict[str, Any]]:
    """Parameter groups in which matrices decay and biases and the scales of norms do not.

    A parameter with fewer than two axes is left undecayed: shrinking a bias or a norm's scale
    takes away shift and size without making the function simpler. Frozen parameters stay out.
    For any optimizer: AdamW(decay_groups(model), lr=1e-3).
    """
    params = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]

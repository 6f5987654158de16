"""A layer that reads a sequence step by step and remembers, and the classifier made of it.

`nn.RNN` is one call for all steps and layers: on the CPU a loop in C++, every step of
which autograd keeps, on CUDA a kernel of cuDNN that reads all weights as one block of memory
(`flatten_parameters()` mends that after they have been moved one by one) and adds its two biases
although one would do. It starts every weight uniform in +-1/sqrt(hidden_size); an expert starts
`weight_hh` orthogonal instead.

`state` comes out with its graph. A long sequence is cut by `state.detach()` before the state is
handed in as `hx` of the next piece: without it backward goes on into the piece before, whose graph
is gone, and raises. `hx` is (D * num_layers, N, hidden_size) whatever `batch_first` says. Sequences
of different lengths go in as a `PackedSequence`, which the NumPy side does not read.
"""

from torch import Tensor, nn
from torch.nn import RNN, Linear

__all__ = ["RNN", "RNNClassifier"]


class RNNClassifier(nn.Module):
    """Read a whole sequence, and tell its class by what is remembered at the end.

    RNN over (N, L, input_size), one Linear on the last layer's last output, logits out. weight_hh
    starts orthogonal, `init_gain` times (Saxe et al. 2013, arXiv:1312.6120), so that with a gain of
    1 a gradient keeps its length through as many steps as no activation shortens it; biases at 0.

    Shapes: x (N, L, input_size); logits (N, num_classes).

    Raises:
        ValueError: as `RNN`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_classes: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *,
        dropout: float = 0.0,
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.rnn = RNN(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity=nonlinearity,
            batch_first=True,
            dropout=dropout,
        )
        self.head = Linear(hidden_size, num_classes)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter, gain=init_gain)
            elif name.startswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        output, _ = self.rnn(x)
        return self.head(output[:, -1])

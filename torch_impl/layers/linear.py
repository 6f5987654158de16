"""A matrix product and a shift, and the two layers that only hand data on.

`Linear` is one `addmm`: autograd keeps the input (for dweight) and the weight (for dx), and works
out dx only if the input, or something before it, requires a gradient. On a GPU float32 products
run in full float32 unless `torch.set_float32_matmul_precision("high")` allows TF32.

`weight` is (out_features, in_features): scratch code that stores (in, out) moves over transposed.
`Linear.reset_parameters` calls kaiming_uniform_ with a = sqrt(5), which is +-1/sqrt(in_features);
He's own range for ReLU is set with `nn.init.kaiming_uniform_(weight, nonlinearity="relu")`.

`Flatten` returns a view where strides allow and copies where they do not; `Identity` returns its
very input.
"""

from torch.nn import Flatten, Identity, Linear, Sequential

__all__ = ["Flatten", "Identity", "Linear", "linear_classifier"]


def linear_classifier(in_features: int, num_classes: int) -> Sequential:
    """Multinomial logistic regression: flatten each sample, one Linear, logits out.

    No softmax at the end: CrossEntropyLoss takes logits and applies log-softmax itself.
    """
    return Sequential(Flatten(), Linear(in_features, num_classes))

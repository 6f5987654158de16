"""Independent draws from one distribution for every place: uniform, or normal.

`normal_(tensor, mean, std)` takes a std where papers write N(mean, variance). Without `generator=`
the global CPU generator is used, which `torch.manual_seed` sets.

Numbers are drawn one after the other into memory order, whatever the number of threads; a
transposed view therefore gets other numbers at the same seed than a contiguous tensor would.
float32 and float64 take different amounts of the stream, so one seed gives them unrelated weights.
"""

from torch.nn.init import normal_, uniform_

__all__ = ["normal_", "uniform_"]

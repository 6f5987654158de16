"""The front door that mirrors torch.optim: `from numpy_impl import optim`."""

"""Anybody's NumPy code beside torch: where the two part, by what, and why.

The way through: `entry` takes the call; `own_*` and `reference` make programs of the two sides that
`trials` can run alike, with parameters brought together by `mapping`; `locate` and `layers` find
the first disagreement; `fits`, `suspects`, `norm_suspects`, `batch_suspects` and `declared`
look for what reproduces it, and `diagnose` weighs what they found; `explain` puts it into words.
Optimizers and schedules go by `trajectory` and `schedule`.
"""

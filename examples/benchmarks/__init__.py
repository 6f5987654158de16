"""How long both sides take: ``python -m examples.benchmarks [--quick] [--threads N] [NAME...]``.

Each work is timed in one process, the sides turn by turn, on equal threads. Absolute times belong
to the machine; what carries over is the ratio, NumPy over the other, below 1 where NumPy is faster.
"""

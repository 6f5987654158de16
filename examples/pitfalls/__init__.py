"""Five ways in which training fails, each measured before and after its cures, on both sides.

python -m examples.pitfalls                     all five
python -m examples.pitfalls vanishing           one of them
python -m examples.pitfalls --quick             a look in seconds
python -m examples.pitfalls -o DIR              where the figures go, out/ by default
"""

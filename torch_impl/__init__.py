"""The same techniques as a PyTorch expert would write them: built-ins, and the recipe around."""

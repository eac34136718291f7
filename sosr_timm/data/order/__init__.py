"""Which samples in which order, and the random state of each."""

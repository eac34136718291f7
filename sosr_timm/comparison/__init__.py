"""sosr-compare: the same model with several losses and paired seeds, and what the difference is."""

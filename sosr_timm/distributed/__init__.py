"""The processes of a run: how they start and agree, with how many threads, how signals reach them."""

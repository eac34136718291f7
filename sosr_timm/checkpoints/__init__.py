"""Checkpoints and run folders: their format, how they are written, which one a run continues from."""

"""Data sets as indexed images with labels and names."""

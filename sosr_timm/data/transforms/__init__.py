"""Transforms of images and of batches."""

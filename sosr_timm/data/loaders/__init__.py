"""Batches of tensors, made by loader processes or on the device."""

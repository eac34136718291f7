"""Which images, in which order, augmented how: plain values in, batches out."""

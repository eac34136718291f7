"""What trained models are used for: predictions for new images, and export to other runtimes."""

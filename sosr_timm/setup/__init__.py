"""The parts of a run, each built from its options."""

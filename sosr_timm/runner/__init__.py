"""Many training runs: planned as a table, run as processes, stored as small records."""

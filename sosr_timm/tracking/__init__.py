"""What a run shows and records while it trains: console, metrics log, trackers, saved images."""

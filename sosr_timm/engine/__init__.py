"""train.py: what trains, and what every evaluation shares; read loop.py first."""

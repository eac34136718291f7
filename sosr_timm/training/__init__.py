"""Training from start to finish; read loop.py first."""

"""What trains and evaluates: read loop.py first."""

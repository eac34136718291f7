"""validate.py: evaluate one trained model or several on one data set. Read main.py first."""

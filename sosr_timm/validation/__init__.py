"""validate.py: one trained network or many, measured on one data set; read main.py first."""

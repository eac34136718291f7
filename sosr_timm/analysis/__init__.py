"""sosr-analyze: the analyses and plots of the papers, for runs and timm models. Read main.py first."""

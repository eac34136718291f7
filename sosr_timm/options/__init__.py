"""Typed option groups, one field per flag, timm's names and defaults; YAML < command line; unknown key = error."""

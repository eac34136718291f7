"""The values that the papers print, one YAML file for each method's paper."""

from pathlib import Path

FOLDER = Path(__file__).parent

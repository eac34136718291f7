"""Evaluate a run, a checkpoint or a timm model: python validate.py RUN_FOLDER"""

from sosr_timm.validate import command

if __name__ == "__main__":
    command()

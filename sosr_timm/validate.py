"""Evaluate a run, a checkpoint or a timm model. Example: sosr-validate RUN_FOLDER"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.options.load import load
    from sosr_timm.options.validate import ValidateOptions
    from sosr_timm.validation.main import run_validation

    return run_validation(load(ValidateOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-validate`, and `validate.py` in a checkout."""
    run_command(main)


if __name__ == "__main__":
    command()

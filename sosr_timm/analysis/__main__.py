"""The analyses and plots of the papers, for runs and models: sosr-analyze NAME RUN_OR_MODEL ..."""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    """Do what the first argument names."""
    from sosr_timm.analysis.main import run_analysis, usage

    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    return run_analysis(arguments[0], arguments[1:])


def command() -> NoReturn:
    """The command `sosr-analyze`, and `python -m sosr_timm.analysis`."""
    sys.argv[0] = "sosr-analyze"  # what messages begin with
    run_command(main)


if __name__ == "__main__":
    command()

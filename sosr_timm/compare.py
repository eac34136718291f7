"""Compare losses on your data. Example: sosr-compare --config digits --losses ce ls sosr --seeds 3"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.comparison.main import run_comparison
    from sosr_timm.options.compare import CompareOptions
    from sosr_timm.options.load import load

    return run_comparison(load(CompareOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-compare`."""
    run_command(main)


if __name__ == "__main__":
    command()

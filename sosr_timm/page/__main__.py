"""Make one HTML page about runs or a comparison. Example: sosr-page output/train --output page.html"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.options.load import load
    from sosr_timm.options.page import PageOptions
    from sosr_timm.page.main import run_page

    return run_page(load(PageOptions, sys.argv[1:], __doc__ or "").options)


def command() -> NoReturn:
    """The command `sosr-page`."""
    run_command(main)


if __name__ == "__main__":
    command()

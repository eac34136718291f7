"""Train an image classifier. Example: accelerate launch -m sosr_timm.train --config digits --loss sosr"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.options.load import load
    from sosr_timm.options.train import TrainOptions
    from sosr_timm.training.main import run_training

    return run_training(load(TrainOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-train`, and `train.py` in a checkout."""
    run_command(main)


if __name__ == "__main__":
    command()

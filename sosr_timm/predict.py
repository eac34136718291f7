"""Predict the classes of images. Example: sosr-predict --model RUN_FOLDER photo.jpg directory/ --output found.csv"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.inference.predict import run_prediction
    from sosr_timm.options.inference import PredictOptions
    from sosr_timm.options.load import load

    return run_prediction(load(PredictOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-predict`."""
    run_command(main)


if __name__ == "__main__":
    command()

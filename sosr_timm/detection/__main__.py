"""Train RetinaNet on Pascal VOC, and evaluate it. Example: sosr-detect DIRECTORY --model RUN_FOLDER"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.detection.main import run_detection
    from sosr_timm.options.detection import DetectionOptions
    from sosr_timm.options.load import load

    return run_detection(load(DetectionOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-detect`, and `python -m sosr_timm.detection`."""
    sys.argv[0] = "sosr-detect"  # what messages begin with
    run_command(main)


if __name__ == "__main__":
    command()

"""Export a trained model to ONNX or torch.export. Example: sosr-export --model RUN_FOLDER --output model.onnx"""

import sys
from typing import NoReturn

from sosr_timm.distributed.processes import run_command


def main() -> int:
    from sosr_timm.inference.export import run_export
    from sosr_timm.options.inference import ExportOptions
    from sosr_timm.options.load import load

    return run_export(load(ExportOptions, sys.argv[1:], __doc__ or ""))


def command() -> NoReturn:
    """The command `sosr-export`."""
    run_command(main)


if __name__ == "__main__":
    command()

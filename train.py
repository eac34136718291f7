"""Train an image classifier: accelerate launch train.py --config hparams/digits.yaml --loss sosr"""

import sys

from sosr_timm.distributed.processes import end_processes, run_main


def main() -> int:
    from sosr_timm.options.load import load
    from sosr_timm.options.train import TrainOptions
    from sosr_timm.training.main import run_training

    return run_training(load(TrainOptions, sys.argv[1:], __doc__))


if __name__ == "__main__":
    code = run_main(main)
    end_processes()
    sys.exit(code)

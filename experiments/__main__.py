"""python -m experiments list|run|status|report"""

import os
import sys

from sosr_timm.distributed.processes import run_main


def main() -> int:
    from experiments.command_line import read_arguments

    parsed, extra = read_arguments(sys.argv[1:])
    if parsed.command == "run":
        from experiments.run_table import run_table
        from tools.checkout import ROOT

        os.chdir(ROOT)  # the runs start there, so what they read is looked for from there
        return run_table(parsed, extra)
    if parsed.command == "report":
        from experiments.results_page import report

        return report(parsed)
    from experiments.status import status

    return status(parsed, extra)


if __name__ == "__main__":
    sys.argv[0] = "experiments"
    try:
        code = run_main(main)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)

"""python -m sosr_timm.experiments list|run|status|report"""

import sys

from sosr_timm.engine.launch import run_main


def main() -> int:
    from sosr_timm.experiments.command_line import read_arguments

    parsed, extra = read_arguments(sys.argv[1:])
    if parsed.command == "run":
        from sosr_timm.experiments.run_table import run_table

        return run_table(parsed, extra)
    if parsed.command == "report":
        from sosr_timm.experiments.document import report

        return report(parsed)
    from sosr_timm.experiments.status import status

    return status(parsed, extra)


if __name__ == "__main__":
    sys.argv[0] = "experiments"
    sys.exit(run_main(main))

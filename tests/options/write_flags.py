"""Write the committed lists of flags anew: python -m tests.options.write_flags"""

import argparse

from tests.options.flags import ALL_PROGRAMS, HERE, declared, describe


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for program in ALL_PROGRAMS:
        lines = [describe(option) for option in declared(program).values()]
        (HERE / f"{program}_flags.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

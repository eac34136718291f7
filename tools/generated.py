"""The command line that every writer of a generated page has: python -m tools.PAGE [--check]"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from sosr_timm.files import write_text
from tools.checkout import shown


def run_writer(path: Path, make: Callable[[], str], description: str) -> int:
    """Write a page, or with --check compare it with what would be written.

    Args:
        path: of the page.
        make: its text.
        description: for --help.

    Returns:
        the exit code: 1 where --check finds the page out of date.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is out of date")
    check = parser.parse_args().check
    text = make()
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        print(f"{shown(path)} is up to date")
        return 0
    if check:
        print(f"{shown(path)} is out of date")
        return 1
    write_text(path, text)
    print(f"{shown(path)} written")
    return 0

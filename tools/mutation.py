"""Do the tests catch faults? Plant each one of `tools/faults.py` in a copy and run the tests that should fail.

    python -m tools.mutation [--only TEXT] [--list]

Exit code 0: every fault is caught. The faults are planted one at a time in a temporary copy of the package and its
tests. torch, timm and pytest are imported once, and every fault has a forked process of its own, so most take a second
or two. The tests run once without a fault first: a fault counts as caught only by tests that pass without it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tools.checkout import ROOT
from tools.faults import FAULTS, Fault

PARTS = ("sosr_timm", "tests", "benchmarks", "pyproject.toml")  # of the checkout that the tests of losses need
CAUGHT, SURVIVED = 1, 0  # exit codes of pytest


def planted(source: str, fault: Fault) -> str:
    """The source with the fault in it.

    Raises:
        ValueError: the fault's text is not in the source exactly once, so the list has to follow the source.
    """
    count = source.count(fault.old)
    if count != 1:
        raise ValueError(f"fault '{fault.name}': its text is {count} times in {fault.file}, must be there once")
    return source.replace(fault.old, fault.new)


def check_faults(root: Path, faults: list[Fault]) -> None:
    """Check that each fault can be planted, gives valid Python, and names tests that exist.

    Raises:
        ValueError: one line for each that does not.
    """
    problems = []
    for fault in faults:
        try:
            compile(planted((root / fault.file).read_text(encoding="utf-8"), fault), fault.file, "exec")
        except (ValueError, SyntaxError) as error:
            problems.append(str(error))
        problems += [f"fault '{fault.name}': no tests at {path}" for path in fault.tests if not (root / path).is_file()]
    names = [fault.name for fault in faults]
    problems += [f"fault '{name}' is listed twice" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise ValueError("\n".join(problems))


def run_tests(copy: Path, tests: list[str]) -> int:
    """Run test files of the copy in a forked process until one fails; pytest's exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        import pytest

        os.chdir(copy)
        sys.path.insert(0, str(copy))
        log = os.open(copy / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--durations=0", *tests]))
    finally:
        os._exit(code)


def try_fault(copy: Path, fault: Fault) -> int:
    """Plant a fault, run its tests, and take it back; pytest's exit code."""
    path = copy / fault.file
    source = path.read_text(encoding="utf-8")
    path.write_text(planted(source, fault), encoding="utf-8")
    try:
        return run_tests(copy, list(fault.tests))
    finally:
        path.write_text(source, encoding="utf-8")


def import_once() -> None:
    """Import what every child needs and no fault is in."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # two faults in one second would share a cached module
    sys.dont_write_bytecode = True
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)  # a fork takes no threads along


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="faults whose name or file contains this text")
    parser.add_argument("--list", action="store_true", help="list the faults and stop")
    options = parser.parse_args()
    faults = [fault for fault in FAULTS if options.only in f"{fault.name} {fault.file}"]
    try:
        check_faults(ROOT, list(FAULTS))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list or not faults:
        print("\n".join(f"{fault.file}: {fault.name}" for fault in faults) or f"no fault contains '{options.only}'")
        return 0 if faults else 2
    import_once()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy = Path(folder)
        for part in PARTS:
            source, ignore = ROOT / part, shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / part, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / part)
        files = sorted({path for fault in faults for path in fault.tests})
        if run_tests(copy, files) != SURVIVED:
            print((copy / "log").read_text(encoding="utf-8")[-3000:], file=sys.stderr)
            print("the tests fail without any fault", file=sys.stderr)
            return 2
        return report(copy, faults)


def report(copy: Path, faults: list[Fault]) -> int:
    """Try the faults, print a line for each and a summary; the exit code."""
    missed = []
    for fault in faults:
        start = time.perf_counter()
        code = try_fault(copy, fault)
        word = {CAUGHT: "caught", SURVIVED: "SURVIVED"}.get(code, f"NO RESULT (pytest: {code})")
        if code != CAUGHT:
            missed.append(fault.name)
        print(f"{word:8} {time.perf_counter() - start:5.1f} s  {fault.file}: {fault.name}", flush=True)
    print(f"{len(faults) - len(missed)} of {len(faults)} faults are caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

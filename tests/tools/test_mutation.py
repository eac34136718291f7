"""The list of faults follows the source, and a fault that cannot be planted is an error."""

from dataclasses import replace

import pytest

from tools.checkout import ROOT
from tools.faults import FAULTS
from tools.mutation import check_faults, main, planted


def test_every_fault_can_be_planted():
    """Its text is in the source once, the faulty source is Python, and its tests exist."""
    check_faults(ROOT, FAULTS)
    assert len(FAULTS) >= 40


def test_a_fault_whose_text_is_gone_is_named():
    gone, twice = replace(FAULTS[0], old="no such text"), replace(FAULTS[0], name="other", old="self")
    with pytest.raises(ValueError) as caught:
        check_faults(ROOT, [gone, twice])
    first, second = str(caught.value).splitlines()
    assert first == f"fault '{gone.name}': its text is 0 times in {gone.file}, must be there once"
    assert second.startswith("fault 'other': its text is") and "0 times" not in second


def test_a_fault_that_is_no_python_or_has_no_tests_is_named():
    broken = replace(FAULTS[0], new="(belief >")
    with pytest.raises(ValueError, match=r"sosr\.py"):
        check_faults(ROOT, [broken])
    with pytest.raises(ValueError, match=r"no tests at tests/losses/test_nothing\.py"):
        check_faults(ROOT, [replace(FAULTS[0], tests=("tests/losses/test_nothing.py",))])
    with pytest.raises(ValueError, match="is listed twice"):
        check_faults(ROOT, [FAULTS[0], FAULTS[0]])


def test_planting_changes_the_text_and_nothing_else():
    source = (ROOT / FAULTS[0].file).read_text(encoding="utf-8")
    assert planted(source, FAULTS[0]).replace(FAULTS[0].new, FAULTS[0].old) == source


def test_list_names_every_fault(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mutation", "--list"])
    assert main() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FAULTS)

"""`list` never cuts the names that one has to type."""

import pytest

from experiments.command_line import read_arguments
from experiments.status import status
from experiments.table_file import table_names
from tests.terminal import terminal


def names_in(lines):
    return [line.split()[0] for line in lines if line.split() and line.split()[0] in set(table_names())]


@pytest.mark.parametrize("width", [80, 120])
def test_every_name_is_whole_on_a_terminal(monkeypatch, width):
    with terminal(monkeypatch, width) as screen:
        assert status(*read_arguments(["list"])) == 0
    assert set(names_in(screen.pieces)) == set(table_names())
    assert all(len(piece) <= width for piece in screen.pieces)


def test_every_name_is_whole_in_a_file(capsys):
    assert status(*read_arguments(["list"])) == 0
    assert set(names_in(capsys.readouterr().out.splitlines())) == set(table_names())

"""`list` never cuts the names that one has to type."""

import pytest

from experiments import status as status_module
from experiments.command_line import read_arguments
from experiments.status import status
from experiments.table_file import table_names
from sosr_timm.errors import UserError
from sosr_timm.runner.jobs import Places
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


def test_a_damaged_record_is_named_in_one_line(monkeypatch, tmp_path):
    folder = tmp_path / "results" / table_names()[0]
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{")
    monkeypatch.setattr(status_module, "places_of", lambda parsed: Places(tmp_path, tmp_path / "results"))
    with pytest.raises(UserError, match=r"run\.json: not JSON"):
        status(*read_arguments(["list"]))

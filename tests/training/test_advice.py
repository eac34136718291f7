"""What a run advises: on data that comes too slowly, on operations without a deterministic form."""

from types import SimpleNamespace

import pytest
import torch

from sosr_timm.distributed.determinism import set_backends
from sosr_timm.errors import UserError
from sosr_timm.training import advice
from tests.training.harness import SMALL, train_here


@pytest.mark.parametrize(
    ("share", "workers", "cores", "expected"),
    [
        (0.5, 2, 8, "--workers 4"),
        (0.75, 2, 8, "--workers 8"),
        (0.9, 2, 8, "--workers 8"),
        (0.2, 0, 8, "--workers 3"),
        (0.5, 4, 4, "more cores"),
    ],
)
def test_as_many_workers_as_would_keep_up(share, workers, cores, expected):
    text = advice.about_data(share, workers, cores)
    assert expected in text and f"{share:.0%}" in text


def test_a_run_that_waits_for_data_says_so_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(advice, "SHORTEST", 0.0)
    monkeypatch.setattr(advice, "WORTH_SAYING", 1e-6)
    arguments = (*SMALL, "--loader", "workers", "--log-interval", "2", "--output", tmp_path)
    assert train_here(*arguments) == 0
    assert capsys.readouterr().out.count("training waits for data") == 1


def test_a_run_that_hardly_waits_says_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(advice, "SHORTEST", 0.0)
    monkeypatch.setattr(advice, "WORTH_SAYING", 1.0)
    assert train_here(*SMALL, "--loader", "workers", "--log-interval", "2", "--output", tmp_path) == 0
    assert "training waits for data" not in capsys.readouterr().out


def test_an_operation_without_a_deterministic_form_is_named():
    run = SimpleNamespace(step=4)
    set_backends(deterministic=True)
    try:
        with pytest.raises(UserError, match=r"step 5: put_.* has no deterministic form"), advice.advising(run):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))
    finally:
        set_backends(deterministic=False)


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), advice.advising(SimpleNamespace(step=0)):
        torch.zeros(2, 3) @ torch.zeros(2, 3)

"""Runs that several tests look at and none changes."""

import pytest

from tests.analysis.harness import train_small


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Three small runs: ce with two seeds, and sosr."""
    output = tmp_path_factory.mktemp("runs")
    return {
        "ce": train_small(output, "ce", "--loss", "ce"),
        "ce2": train_small(output, "ce2", "--loss", "ce", "--seed", "7"),
        "sosr": train_small(output, "sosr", "--loss", "sosr(threshold=0.2)"),
    }

"""What every test shares."""

import os

# A run sets its threads to the cores it finds; test workers and the processes they start share those of one machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.cluster.slurm import slurm_cluster  # noqa: F401  a fixture for every test


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads that wait for each other on a busy machine of two cores take many times as long as one."""
    torch.set_num_threads(1)

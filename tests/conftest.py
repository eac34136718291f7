"""What every test shares."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads that wait for each other on a busy machine of two cores take many times as long as one."""
    torch.set_num_threads(1)

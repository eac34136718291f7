"""The lock on a run's folder."""

import threading

import pytest

from sosr_timm.checkpoints.format import even_epochs
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError


def test_a_start_waits_for_a_process_that_is_about_to_end(tmp_path):
    folder = RunFolder(tmp_path)
    lock = folder.lock()
    assert folder.holder()
    threading.Timer(0.3, lock.close).start()
    folder.wait_until_free()
    assert not folder.holder()
    folder.lock().close()


def test_a_process_that_goes_on_training_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    with folder.lock():
        with pytest.raises(UserError, match=r"is being trained in by process \d+ on "):
            folder.wait_until_free(0.2)
        with pytest.raises(UserError, match=r"is being trained in by process \d+ on "):
            folder.lock()


def test_looking_does_not_keep_others_out(tmp_path):
    folder = RunFolder(tmp_path)
    assert not folder.holder() and not list(tmp_path.iterdir())
    folder.lock().close()
    assert not folder.holder()
    folder.lock().close()


def test_even_epochs():
    assert even_epochs(1, 300) == [300]
    assert even_epochs(6, 300) == [50, 100, 150, 200, 250, 300]
    assert even_epochs(3, 10) == [3, 7, 10]
    assert even_epochs(5, 3) == [1, 2, 3]  # a shorter run has no more

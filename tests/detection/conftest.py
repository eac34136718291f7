"""A few drawn shapes in VOC's layout, made once."""

import pytest

from tests.detection.harness import write_shapes


@pytest.fixture(scope="session")
def voc(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("voc"))

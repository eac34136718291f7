"""CITATION.cff is valid YAML and cites the paper of every method that a model card cites."""

from pathlib import Path

import pytest
import yaml

from sosr_timm.hub.methods import METHODS
from sosr_timm.version import __version__

CONTENT = yaml.safe_load((Path(__file__).resolve().parents[1] / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_software_is_cited_with_its_version():
    assert CONTENT["cff-version"] == "1.2.0" and CONTENT["title"].startswith("sosr_timm")
    assert CONTENT["version"] == __version__ and CONTENT["license"] == "Apache-2.0"


@pytest.mark.parametrize("name", METHODS)
def test_the_paper_of_a_method_is_cited(name):
    method = METHODS[name]
    found = [entry for entry in CONTENT["references"] if (method.arxiv or method.doi) in entry["url"]]
    assert len(found) == 1
    assert found[0]["authors"] and all(author["family-names"] for author in found[0]["authors"])

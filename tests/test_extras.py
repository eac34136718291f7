"""An optional package that is missing is one line that names its extra."""

import sys

import pytest

from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    with pytest.raises(UserError, match=r"--dataset digits needs the package 'sklearn'.*sosr-timm\[digits\]"):
        import_extra("sklearn.datasets", "digits", "--dataset digits")


def test_a_fault_inside_an_installed_package_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        import_extra("broken_package", "digits", "a test")

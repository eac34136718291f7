"""YAML that attacks the reader, or that PyYAML itself stumbles over, ends in one line."""

import time

import pytest

from sosr_timm.errors import UserError
from sosr_timm.options.load import read_config
from sosr_timm.options.train import TrainOptions

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


def refusal(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.perf_counter()
    with pytest.raises(UserError) as caught:
        read_config(TrainOptions, path)
    assert time.perf_counter() - started < 10
    message = str(caught.value)
    assert message.startswith(str(path)) and len(message.splitlines()) == 1 and len(message) < 600
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "loss: !!python/object/apply:os.system ['touch proof']",
        "loss: !!python/object/new:os.system ['touch proof']",
        "loss: !!python/name:os.system",
        "loss: !!python/module:os",
        "!!python/object:builtins.dict {}",
        "model_kwargs: {a: !!python/tuple [1]}",
        "model_kwargs: !mine {a: 1}",
    ],
)
def test_no_tag_makes_a_python_object(tmp_path, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "could not determine a constructor for the tag" in refusal(tmp_path, text)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("text", ["[" * 20_000, "{a: " * 20_000, "- " * 20_000])
def test_deep_nesting(tmp_path, text):
    assert refusal(tmp_path, text).endswith("not valid YAML (nested too deeply)")


def test_nesting_that_yaml_can_read_but_a_run_could_not_store(tmp_path):
    said = refusal(tmp_path, "model_kwargs: {a: " + "[" * 12 + "]" * 12 + "}")
    assert said.startswith(": model_kwargs takes key=value pairs")


@pytest.mark.parametrize("text", [LAUGHS, "model_kwargs: &a {x: *a}", "mean: &a [*a]", "lr: &rate 0.1\nlr_base: *rate"])
def test_aliases_are_refused(tmp_path, text):
    assert "aliases are not read: write the value out" in refusal(tmp_path, text)


def test_an_undefined_alias(tmp_path):
    assert "line 1" in refusal(tmp_path, "lr: *nowhere")


@pytest.mark.parametrize(
    "tagged", ["!!int ''", "!!float ''", "!!bool maybe", "!!timestamp soon", "!!int abc", "!!null 1"]
)
def test_a_value_that_does_not_fit_its_tag(tmp_path, tagged):
    assert refusal(tmp_path, f"epochs: {tagged}")


@pytest.mark.parametrize(
    "value",
    [
        "1" * 400,
        "1" * 5000,
        "0x" + "f" * 5000,
        "-0x" + "f" * 5000,
        "1e999",
        "-.inf",
        "[" + "1, " * 5000 + "1]",
        "'" + "x" * 5000 + "'",
    ],
    ids=["400 digits", "5000 digits", "hexadecimal", "negative", "overflow", "infinite", "long list", "long text"],
)
@pytest.mark.parametrize("name", ["lr", "epochs"])
def test_values_too_large_for_any_use(tmp_path, name, value):
    refusal(tmp_path, f"{name}: {value}")


@pytest.mark.parametrize(
    "value", ["2020-01-01", "!!binary aGk=", "!!set {x}", ".nan", ".inf", "{1: 2}", "0x" + "f" * 40, "{a: {2: 3}}"]
)
def test_key_value_pairs_hold_only_what_a_run_can_store(tmp_path, value):
    assert "model_kwargs takes key=value pairs" in refusal(tmp_path, f"model_kwargs: {{a: {value}}}")


def test_keys_that_are_no_texts(tmp_path):
    for key in ("? [a]\n", "? {a: 1}\n", "null", "2020-01-01", "!!binary aGk=", "? |\n  a\n  b\n"):
        refusal(tmp_path, f"{key}: 1")

"""Results survive the way to disk and back exactly, and anything else in the file is an error."""

import dataclasses
import json
import math

import pytest

from sosr_timm.environment import environment
from sosr_timm.files import write_json
from sosr_timm.results import RunResult, digest, load_result, load_results, save_result


def result(**changes) -> RunResult:
    values = {
        "recipe": "cifar100/cifar_resnet56",
        "dataset": "cifar100",
        "model": "cifar_resnet56",
        "loss": "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)",
        "seed": 3,
        "epochs": 300,
        "best": {"epoch": 231, "top1": 74.7, "loss": 0.1 + 0.2},
        "last": {"epoch": 299, "top1": 74.5, "loss": 1e-17},
        "options_digest": digest({"lr": 0.1}),
        "seconds": 3600.25,
        "processes": 2,
        "command": "train.py --loss sosr",
        "environment": {"cpu": "some", "gpus": ["one", "two"], "commit": None},
    }
    return RunResult(**{**values, **changes})


def test_round_trip(tmp_path):
    path = save_result(result(), tmp_path / "new" / "results")
    assert load_result(path) == result()
    assert load_results(path.parent) == [result()]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "a temporary file was left"


def test_benchmarks_are_no_runs(tmp_path):
    save_result(result(), tmp_path)
    write_json(tmp_path / "bench_loss_cpu.json", {"rows": []})
    assert load_results(tmp_path) == [result()]


def test_a_given_name(tmp_path):
    assert save_result(result(), tmp_path, "result.json") == tmp_path / "result.json"
    assert load_result(tmp_path / "result.json") == result()


def test_not_finite_metrics_become_null_and_nan(tmp_path):
    path = save_result(result(last={"top1": math.nan, "loss": math.inf}), tmp_path)
    assert json.loads(path.read_text())["last"] == {"top1": None, "loss": None}
    assert all(math.isnan(value) for value in load_result(path).last.values())


def test_file_name_tells_runs_apart_and_suits_any_file_system():
    names = [result(), result(seed=4), result(loss="ce"), result(model="cifar_resnet110"), result(options_digest="x")]
    names = [run.file_name() for run in names]
    assert len(set(names)) == len(names)
    long = result(dataset="d" * 500, model="m/" * 500, loss="ce+" * 500).file_name()
    assert len(long) < 240
    assert not set('/\\:*?"<>| ()') & set("".join([*names, long]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"seed": None}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": True}, "seed"),
        ({"loss": 3}, "loss"),
        ({"best": [1]}, "best"),
        ({"best": {"top1": "high"}}, "best"),
        ({"seconds": "long"}, "seconds"),
        ({"extra": 1}, r"unknown fields \['extra'\]"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_field(tmp_path, change, message):
    path = save_result(result(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message) as caught:
        load_result(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(RunResult) if field.name != "data"])
def test_a_missing_field_is_refused(tmp_path, name):
    path = save_result(result(), tmp_path)
    content = json.loads(path.read_text())
    del content[name]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=name):
        load_result(path)


def test_a_result_from_before_the_data_was_described_is_read(tmp_path):
    path = save_result(result(), tmp_path)
    content = json.loads(path.read_text())
    assert content.pop("data") == {}
    path.write_text(json.dumps(content))
    assert load_result(path) == result()
    described = result(data={"name": "cifar10", "subset": True})
    assert load_result(save_result(described, tmp_path, "other.json")) == described


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json"):
        load_result(path)


def test_digest():
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert len(digest({})) == 16
    with pytest.raises(TypeError):
        digest({"a": object()})


def test_environment_is_json_and_names_the_versions():
    import timm

    found = environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["timm"] == timm.__version__
    assert found["cores"] >= 1
    assert found["cpu"]
    assert found["commit"] is None or len(found["commit"].removesuffix("-dirty")) == 40


def test_environment_works_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["commit"] is None

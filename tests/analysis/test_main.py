"""sosr-analyze: which runs and models, what is written, and one line for what is wrong."""

import json
import shutil

import pytest
import torch

from sosr_timm.analysis.collect import check_no_nan
from sosr_timm.analysis.main import run_analysis
from sosr_timm.errors import UserError
from tests.analysis.harness import analyze, rows_of


def refused(*arguments: object) -> str:
    with pytest.raises(UserError) as raised:
        run_analysis(str(arguments[0]), [str(argument) for argument in arguments[1:]])
    return str(raised.value)


def test_a_run_and_a_checkpoint_of_it_are_the_same(runs, tmp_path, capsys):
    checkpoint = (runs["ce"] / "checkpoints" / "best").resolve()
    one = analyze(tmp_path / "a", "diversity", runs["ce"])
    two = analyze(tmp_path / "b", "diversity", checkpoint, "--titles", "ce")
    assert one["values"] == two["values"]
    assert one["subjects"][0]["title"] == "ce"
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == two


def test_a_timm_model_takes_the_images_that_are_named(tmp_path):
    record = analyze(
        tmp_path, "diversity", "cifar_resnet20.sosr_fashion_mnist", "--dataset", "fashion_mnist", "--num-samples", "40"
    )
    assert record["values"][0]["images"] == 40
    assert record["values"][0]["top1"] > 80
    assert "which images" in refused("diversity", "cifar_resnet20.sosr_fashion_mnist")


def test_titles_are_the_losses_and_else_what_tells_the_runs_apart(runs, tmp_path):
    rows = analyze(tmp_path, "gradients", *runs.values())["curves"]
    assert {row["run"]: row["seeds"] for row in rows} == {"ce": 2, "sosr(threshold=0.2)": 1}
    rows = analyze(tmp_path, "gradients", runs["ce"], runs["sosr"], "--titles", "one", "two")["curves"]
    assert {row["run"] for row in rows} == {"one", "two"}
    assert [row["run"] for row in rows_of(tmp_path, "gradients")] == [row["run"] for row in rows]


def test_seeds_have_a_title_each_where_no_curve_joins_them(runs, tmp_path):
    record = analyze(tmp_path, "diversity", runs["ce"], runs["ce2"])
    assert [row["run"] for row in record["values"]] == ["ce", "ce2"]
    assert "two runs are called x: tell them apart" in refused(
        "diversity", runs["ce"], runs["ce2"], "--titles", "x", "x"
    )


def test_undefined_outputs_are_refused():
    logits = torch.zeros(4, 3)
    logits[:, 1] = -torch.inf  # of a class that may not be guessed
    check_no_nan(logits, "run")
    logits[2, 0] = torch.nan
    with pytest.raises(UserError, match="run: the outputs for 1 of 4 images are not finite"):
        check_no_nan(logits, "run")


def test_mistakes_are_one_line(runs, tmp_path):
    assert "did you mean 'gradients'" in refused("gradient", runs["ce"])
    assert "analyse what?" in refused("gradients")
    assert "--titles has 1 titles for 2 runs" in refused("gradients", runs["ce"], runs["sosr"], "--titles", "x")
    assert "no such run folder, and unknown model" in refused("gradients", "no-such-model")
    assert "neither a run folder nor" in refused("gradients", tmp_path)
    assert "are for timm models" in refused("diversity", runs["ce"], "--checkpoint", "x.safetensors")
    assert "did you mean --splits" in refused("diversity", runs["ce"], "--split-s", "x").replace("'", "")
    for option in ("--real-labels", "--ood-dataset", "--ood-split"):
        assert f"{option} is for validate.py" in refused("diversity", runs["ce"], option, "x")
    assert "differ in more than their seed" in refused(
        "gradients", runs["ce"], runs["sosr"], "--titles", "same", "same"
    )
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert "cannot be written" in refused("gradients", runs["ce"], "--output", occupied / "below")


def test_a_run_without_recorded_values_is_refused(runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(runs["ce"], copy, symlinks=True)
    (copy / "confidence.csv").unlink()
    assert refused("gradients", copy).endswith("has no recorded values: train it with --record-confidence")
    (copy / "confidence.csv").write_text("epoch,gradient_norm\n0,abc\n")
    assert "is damaged" in refused("gradients", copy)
    (copy / "confidence.csv").write_text("epoch,gradient_norm\n,0.5\n")
    assert "is damaged" in refused("gradients", copy)
    assert "is in run folders only" in refused("gradients", "resnet18")

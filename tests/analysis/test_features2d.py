"""--record-features and features2d: the points of the training step, the same after a stop, and their plot."""

import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sosr_timm.analysis.features2d import nearest_centroid_accuracy
from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from sosr_timm.training.loop import train_update
from tests.analysis.harness import analyze, rows_of
from tests.analysis.test_main import refused
from tests.training.harness import ROOT, SMALL, assert_same_run, build_here, copy_until, train_here

PLANE = (*SMALL, "--model", "cifar_resnet110_2d", "--model-kwargs", "layers=(1,1,1)", "--loss", "sosr")
PLANE += ("--record-features", "--checkpoint-every", "2", "--checkpoint-hist", "100")


@pytest.fixture(scope="module")
def plane_run(tmp_path_factory) -> RunFolder:
    output = tmp_path_factory.mktemp("plane")
    assert train_here(*PLANE, "--output", output, "--experiment", "run") == 0
    return RunFolder(output / "run")


def test_the_points_are_those_of_the_training_step(tmp_path):
    run = build_here(tmp_path, *PLANE, "--model-ema")
    run.task.train()
    seen, points = [], []
    watch = run.features.watch
    run.features.watch = lambda batch: (seen.append(batch), watch(batch))
    run.model.fc2.register_forward_hook(lambda module, inputs, output: points.append(output.detach().clone()))
    batches = run.batches()
    for _ in range(3):
        train_update(run, batches)
    with torch.no_grad():
        run.model(seen[0].images)  # no training step
    values, indices = run.features.read_epoch()
    assert torch.equal(values, torch.cat(points[:3]))
    assert indices.tolist() == [index for batch in seen for index in batch.indices]
    assert run.features.count == 0


def test_a_stopped_run_writes_the_same_files(plane_run, tmp_path):
    middle = sorted(path.name for path in checkpoint_folders(plane_run.checkpoints))[1]
    assert not middle.endswith("update0000000"), "within an epoch"
    copy = copy_until(plane_run, middle, tmp_path)
    for path in (copy.path / "features").iterdir():
        path.unlink()
    assert train_here("--resume", copy.path) == 0
    assert_same_run(plane_run, copy)
    for epoch in (0, 1):
        name = f"features/epoch{epoch:05d}.safetensors"
        assert (copy.path / name).read_bytes() == (plane_run.path / name).read_bytes()


def test_plots_and_accuracy_by_epoch(plane_run, tmp_path):
    record = analyze(tmp_path / "one", "features2d", plane_run.path)
    assert [row["epoch"] for row in record["values"]] == [1]
    content = load_file(str(plane_run.path / "features" / "epoch00001.safetensors"))
    points, labels = content["features"].numpy(), content["labels"].numpy()
    centroids = {label: points[labels == label].mean(axis=0) for label in set(labels.tolist())}
    right = sum(
        min(centroids, key=lambda one: np.linalg.norm(point - centroids[one])) == label
        for point, label in zip(points, labels.tolist(), strict=True)
    )
    assert record["values"][0]["nearest_centroid"] == pytest.approx(100 * right / 56)
    assert nearest_centroid_accuracy(np.array([[0, 0], [1, 0], [9, 0.0]]), np.array([3, 3, 7])) == 100
    analyze(tmp_path / "two", "features2d", plane_run.path, "--epochs", "0", "1", "--paper-colours")
    assert {path.name for path in (tmp_path / "two").glob("*.png")} == {
        "features2d-epoch00000.png",
        "features2d-epoch00001.png",
    }
    assert all(row["eval_top1"] for row in rows_of(tmp_path / "two", "features2d"))


def test_mistakes_are_one_line(runs, plane_run, tmp_path):
    assert "has no recorded features" in refused("features2d", runs["ce"])
    assert "--epochs 7: recorded are 0, 1" in refused("features2d", plane_run.path, "--epochs", "7")
    with pytest.raises(UserError, match=r"models with at most 16 penultimate features.* this one has 64"):
        build_here(tmp_path, *SMALL, "--record-features")
    with pytest.raises(UserError, match="--record-features does not work with --torchcompile"):
        build_here(tmp_path, *PLANE, "--torchcompile", "eager")


def test_damaged_files_are_one_line(plane_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(plane_run.path, copy, symlinks=True)
    (copy / "features" / "epoch-old.safetensors").write_bytes(b"")  # not of an epoch
    (copy / "summary.csv").write_text("epoch,eval_top1\nx,1\n")
    assert "summary.csv cannot be read" in refused("features2d", copy)
    save_file({"features": torch.zeros(4), "labels": torch.zeros(4)}, copy / "features" / "epoch00001.safetensors")
    assert "is damaged (arrays of other shapes)" in refused("features2d", copy)


def test_the_recipe_trains_as_the_one_of_the_plain_model():
    recipes = [ROOT / "hparams" / name for name in ("cifar10/cifar_resnet110_2d.yaml", "cifar100/cifar_resnet110.yaml")]
    plane, plain = (yaml.safe_load(path.read_text()) for path in recipes)
    different = {name for name in plane.keys() | plain.keys() if plane.get(name) != plain.get(name)}
    assert different == {"dataset", "model"}

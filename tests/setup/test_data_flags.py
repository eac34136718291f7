"""--save-images, --tta, --no-prefetcher and the flags of timm that change nothing here."""

import logging

import numpy as np
import pytest
from PIL import Image

from sosr_timm.checkpoints.run_folder import claim_folder
from sosr_timm.data.loaders.device_loader import DeviceTrainingBatches
from sosr_timm.data.loaders.worker_loader import TrainingBatches
from sosr_timm.distributed.processes import start_processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.training.build import build_run
from tests.training.harness import SMALL, assert_same_run, only_run, train_here


def build(tmp_path, *arguments):
    options = load(TrainOptions, [*SMALL, *map(str, arguments)]).options
    return build_run(options, start_processes(), claim_folder(tmp_path, "run"))


def test_pictures_show_what_the_network_was_fed(tmp_path):
    assert train_here(*SMALL, "--save-images", "--epochs", "1", "--no-aug", "--output", tmp_path) == 0
    run = only_run(tmp_path)
    assert sorted(path.name for path in (run.path / "images").iterdir()) == ["train-batch-4.jpg", "train-batch-7.jpg"]
    pixels = np.asarray(Image.open(run.path / "images" / "train-batch-4.jpg").convert("L"))
    built = build(tmp_path / "again", "--no-aug")
    batch = [next(stream) for stream in [built.batches()] for _ in range(4)][-1]
    shown = batch.images * built.image_format.std[0] + built.image_format.mean[0]
    expected = np.concatenate([image[0].numpy() for image in shown], axis=1) * 255
    assert pixels.shape == expected.shape == (8, 64)
    assert abs(pixels - expected).mean() < 10, "JPEG loses a little"


def test_a_folder_that_takes_no_pictures_does_not_end_the_run(tmp_path, capsys, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchvision.utils.save_image", full)
    assert train_here(*SMALL, "--save-images", "--epochs", "1", "--output", tmp_path) == 0
    assert "images of step 4 not written: No space left on device" in capsys.readouterr().out


def test_views_are_evaluated_by_loader_processes(tmp_path):
    run = build(tmp_path, "--tta", "4")
    batch = next(iter(run.evaluation_loader))
    assert batch.images.shape == (64, 1, 8, 8) and batch.target.shape == (16,)
    assert train_here(*SMALL, "--tta", "2", "--epochs", "1", "--output", tmp_path / "runs") == 0
    for arguments, said in {
        ("--tta", "11"): "--tta must be from 0 to 10, not 11",
        ("--tta", "2", "--loader", "device"): "--loader device: --tta is made image by image",
        ("--no-prefetcher", "--loader", "device"): "--loader device contradicts --no-prefetcher",
        (
            "--train-img-sizes",
            "8",
            "16",
            "--model",
            "vit_tiny_patch16_224",
            "--img-size",
            "16",
        ): "--train-img-sizes 8: ",
    }.items():
        with pytest.raises(UserError) as caught:
            build(tmp_path, *arguments)
        assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_no_prefetcher_leaves_everything_to_loader_processes(tmp_path):
    assert isinstance(build(tmp_path).training, DeviceTrainingBatches)
    assert isinstance(build(tmp_path, "--no-prefetcher").training, TrainingBatches)


def test_flags_that_change_nothing_say_so_and_change_nothing(tmp_path, caplog):
    arguments = [*SMALL, "--epochs", "1", "--loader", "workers"]
    assert train_here(*arguments, "--output", tmp_path / "plain") == 0
    with caplog.at_level(logging.INFO):
        logging.getLogger("sosr_timm").propagate = True
        extra = ["--worker-seeding", "part", "--use-multi-epochs-loader"]
        assert train_here(*arguments, *extra, "--output", tmp_path / "more") == 0
    assert_same_run(only_run(tmp_path / "plain"), only_run(tmp_path / "more"))
    said = caplog.text
    assert "--worker-seeding part changes nothing" in said and "--use-multi-epochs-loader changes nothing" in said


def test_crop_mode_squash_shows_the_complete_image_in_training_as_in_validate(tmp_path):
    for split in ("train", "validation"):
        for name, grey in (("a", 0), ("b", 255)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                picture = np.full((16, 32, 3), 128, np.uint8)
                picture[:, :8], picture[:, 24:] = grey, grey  # what the center crop of a wide image cuts off
                Image.fromarray(picture).save(folder / f"{number}.png")
    words = f"--data-dir {tmp_path / 'data'} --model cifar_resnet20 --img-size 16 --crop-pct 1.0 --workers 0".split()
    seen = {}
    for mode in ("center", "squash"):
        options = load(TrainOptions, [*words, "--batch-size", "4", "--crop-mode", mode]).options
        run = build_run(options, start_processes(), claim_folder(tmp_path, mode))
        assert run.image_format.crop_mode == mode
        seen[mode] = next(iter(run.evaluation_loader)).images.float().std(dim=(0, 2, 3))  # of each channel
    assert seen["center"].max() < 1e-3
    assert seen["squash"].min() > 0.1

"""Bad input is one clear line that names what is wrong and the nearest valid thing, and leaves nothing behind."""

import pytest

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import UserError
from tests.training.harness import SMALL, only_run, train_here, train_processes, validate

CASES = {
    "missing folder": (["--dataset", "", "--data-dir", "nowhere"], "data directory nowhere does not exist"),
    "no data": (["--dataset", ""], "no data: name a directory"),
    "unknown data set": (["--dataset", "digit"], "unknown data set 'digit': did you mean 'digits'"),
    "unknown split": (["--val-split", "tset"], "data set 'digits' has the splits train and validation, not 'tset'"),
    "unknown model": (["--model", "cifar_resnet2"], "unknown model 'cifar_resnet2': did you mean .*'cifar_resnet20'"),
    "unknown loss": (["--loss", "sors"], "did you mean 'sosr'"),
    "unknown penalty": (["--loss", "ce+maxsupp"], "did you mean 'maxsup'"),
    "unknown keyword": (["--loss", "sosr(treshold=0.9)"], "did you mean 'threshold'"),
    "unknown option": (["--batchsize", "8"], "unknown option '--batchsize': did you mean '--batch-size'"),
    "unknown optimizer": (["--opt", "adamww"], "unknown optimizer 'adamww': did you mean 'adamw'"),
    "unknown schedule": (["--sched", "cosin"], "not 'cosin'; did you mean 'cosine'"),
    "unknown tracker": (["--log-with", "tensorbord"], "did you mean 'tensorboard'"),
    "threshold": (["--loss", "sosr(threshold=1.5)"], r"threshold must be in \(0, 1\], got 1.5"),
    "beta": (["--loss", "sosr(beta=-1)"], "beta must be at least 0, got -1"),
    "smoothing with ols": (["--loss", "ols", "--smoothing", "0.1"], "ols"),
    "smoothing with maxsup": (["--loss", "maxsup", "--smoothing", "0.1"], "maxsup"),
    "odd batch": (["--batch-size", "7", "--cutmix", "1"], "--batch-size 7: Mixup and CutMix mix pairs"),
    "wrong class count": (["--num-classes", "7"], "--num-classes 7: the data set has 10 classes"),
    "batch larger than data": (["--batch-size", "64"], "fewer than one batch of 64"),
    "zero batch": (["--batch-size", "0"], "--batch-size must be from 1 to 1,000,000, not 0"),
    "negative epochs": (["--epochs", "-1"], "--epochs must be from 1 to 100,000, not -1"),
    "wrong type": (["--lr", "fast"], "invalid float value: 'fast'"),
    "resume nothing": (["--resume", "nowhere"], "no such file or directory"),
    "resume no run": (["--resume", "tests"], "neither a run folder nor a checkpoint"),
    "more processes": (["--num-processes", "4"], "4 processes were asked for, 1 started.*torchrun --nproc_per_node 4"),
    "checkpoint every": (["--checkpoint-every", "often"], "--checkpoint-every must be updates"),
    "mean per channel": (["--mean", "0.1", "0.2"], "--mean and --std need one value or one per channel"),
    "image mode": (["--input-img-mode", "FOO"], "--input-img-mode is one of"),
    "image mode and channels": (
        ["--input-img-mode", "RGB"],
        "--input-img-mode RGB has 3 channels, the model takes 1",
    ),
    "image size": (["--img-size", "-3"], "--img-size must be from 1 to 8,192, not -3"),
    "deviation of zero": (["--std", "0"], "each value of --std must be above 0 and at most 1, not 0.0"),
    "blur of tiny images": (["--gaussian-blur-prob", "0.5"], "timm's blur needs images of more than 11 pixels"),
    "device loader and squares": (
        ["--loader", "device", "--train-resize", "12"],
        "--loader device: --train-resize is made image by image",
    ),
    "squares smaller than the crop": (["--train-resize", "4"], "augmentation: images resized to 4 pixels, crops of 8"),
    "device loader": (["--loader", "device", "--aa", "rand-m5-n1"], "--loader device: --aa is made image by image"),
    "augmentation": (["--aa", "nothing"], "--aa nothing: unknown policy"),
    "hole without pixels": (["--cutout", "0"], "--cutout must be from 1 to 8,192, not 0"),
    "experiment": (["--experiment", "a/b"], "--experiment must be a file name: a letter, a digit"),
    "model argument": (["--model-kwargs", "depht=3"], "model 'cifar_resnet20'.*depht"),
    "optimizer argument": (["--opt-kwargs", "nestorov=True"], "--opt momentum.*nestorov"),
    "foreign weights": (["--initial-checkpoint", "README.md"], "README.md"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_line_names_what_is_wrong(case, tmp_path):
    arguments, message = CASES[case]
    with pytest.raises(UserError, match=message) as caught:
        train_here(*SMALL, *arguments, "--output", tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "a refused run left something behind"


def test_the_script_ends_with_code_2_and_one_line(tmp_path):
    ended = train_processes(*SMALL, "--loss", "sors", "--output", tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("train.py: error: --loss 'sors':")
    assert "Traceback" not in ended.stderr + ended.stdout


@pytest.fixture
def finished(tmp_path):
    assert train_here(*SMALL, "--loss", "sosr", "--epochs", "1", "--output", tmp_path) == 0
    return only_run(tmp_path)


def test_a_resumed_run_refuses_options_that_contradict_it(finished):
    with pytest.raises(UserError, match=r"--lr is 0.05 in the run and 0.2 in the command line"):
        train_here("--resume", finished.path, "--lr", "0.2")


@pytest.mark.parametrize("loss", ["ce+sosr", "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)"])
def test_the_same_loss_in_other_words_resumes_the_run(loss, finished):
    assert train_here("--resume", finished.path, "--loss", loss) == 0


def test_another_value_of_the_loss_is_refused(finished):
    with pytest.raises(UserError, match=r"--loss is 'sosr' in the run and 'sosr\(beta=1.0\)' in the command line"):
        train_here("--resume", finished.path, "--loss", "sosr(beta=1.0)")


def test_a_directory_beside_a_data_set_without_files_is_named(finished, tmp_path, capsys):
    code = train_here(*SMALL, "--epochs", "1", "--data-dir", tmp_path / "images", "--output", tmp_path / "second")
    assert code == 0
    assert f"warning: {tmp_path / 'images'} is not read: --dataset digits has no files" in capsys.readouterr().out
    validate(capsys, finished.path, "--dataset", "digits", "--data-dir", tmp_path / "images")


def test_workers_and_folders_may_change(finished):
    assert train_here("--resume", finished.path, "--workers", "1", "--checkpoint-hist", "5") == 0


def test_auto_without_a_matching_run_starts_anew(finished):
    assert (
        train_here(*SMALL, "--loss", "ce", "--output", finished.path.parent, "--resume", "auto", "--epochs", "1") == 0
    )
    assert len(list(finished.path.parent.iterdir())) == 2


def test_a_second_run_does_not_write_over_the_first(finished):
    before = finished.summary.read_bytes()
    assert train_here(*SMALL, "--loss", "sosr", "--epochs", "1", "--output", finished.path.parent) == 0
    assert (finished.path.parent / f"{finished.path.name}-2").is_dir()
    assert finished.summary.read_bytes() == before


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(finished, capsys):
    train_here(*SMALL, "--loss", "sosr", "--output", finished.path.parent, "--experiment", "two", "--epochs", "2")
    run = RunFolder(finished.path.parent / "two")
    last = checkpoint_folders(run.checkpoints)[0]
    content = bytearray((last / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (last / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"damaged checkpoint.*model.safetensors is not what was written"):
        train_here("--resume", last)
    assert train_here("--resume", run.path) == 0
    output = capsys.readouterr().out
    assert "damaged checkpoint" in output and "going back to epoch00001-update0000000" in output

"""timm's names of torchvision's data sets, read from the layout that torchvision downloads into."""

import gzip

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.embedded import FASHION_MNIST_SYSTEM_FOLDER
from sosr_timm.errors import UserError
from tests.data.images import class_folders
from tests.data.sources.test_catalog import FILES, needs_fashion_mnist


@pytest.fixture(scope="module")
def torchvision_folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("torchvision")
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).write_bytes(gzip.decompress((FASHION_MNIST_SYSTEM_FOLDER / f"{name}.gz").read_bytes()))
    return str(root)


def refusal(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        open_source(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@needs_fashion_mnist
@pytest.mark.parametrize("name", ["torch/fashion_mnist", "TORCH/Fashion_MNIST"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_it_is_the_same_set_by_either_name(torchvision_folder, name, split):
    theirs, ours = open_source(name, torchvision_folder, split), open_source("fashion_mnist", torchvision_folder, split)
    assert len(theirs) == len(ours)
    assert theirs.info.num_classes == 10 and theirs.info.class_names[9] == "Ankle boot"
    for index in (0, 77, len(ours) - 1):
        (image, label), (same, number) = theirs.load(index), ours.load(index)
        assert np.array_equal(image, same) and label == number
    assert theirs.name(5) == f"{name} image 5"


@needs_fashion_mnist
def test_a_mistyped_split_is_not_the_evaluation_part(torchvision_folder):
    said = refusal("torch/fashion_mnist", torchvision_folder, "trian")
    assert said == "data set 'torch/fashion_mnist' has the splits train and validation, not 'trian'"


def test_files_that_are_not_there(tmp_path):
    for name in ("fashion_mnist", "cifar10", "mnist"):
        said = refusal(f"torch/{name}", str(tmp_path), "train")
        assert said.startswith(f"data set 'torch/{name}' in {tmp_path}: ")
        assert said.endswith("; --dataset-download lets torchvision fetch it")


def test_an_unknown_set_is_not_to_be_downloaded(tmp_path):
    said = refusal("torch/cifar11", str(tmp_path), "train")
    assert said == f"data set 'torch/cifar11' in {tmp_path}: Unknown torchvision dataset cifar11"


@pytest.mark.parametrize("name", ["torch/folder", "torch/image_folder"])
def test_torchvisions_folders(tmp_path, name):
    class_folders(tmp_path, classes=("10", "9"))
    source = open_source(name, str(tmp_path), "validation")
    assert source.info.class_names == ("10", "9"), "torchvision sorts by letters"
    assert source.name(0) == str(tmp_path / "val" / "10" / "0.png")
    assert refusal(name, str(tmp_path), "test").startswith(f"data directory {tmp_path} has no split 'test'")

"""Data sets by name: the embedded one, Fashion-MNIST from every place it may lie in, and what is refused."""

import gzip
import shutil

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import DATASETS, open_source
from sosr_timm.data.sources.embedded import FASHION_MNIST_SYSTEM_FOLDER, read_idx
from sosr_timm.errors import UserError

FILES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
needs_fashion_mnist = pytest.mark.skipif(
    not (FASHION_MNIST_SYSTEM_FOLDER / f"{FILES[0]}.gz").is_file(), reason="needs Debian's dataset-fashion-mnist"
)


def refusal(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        open_source(*arguments, **keywords)
    return str(caught.value)


def test_digits_are_split_by_every_fifth_image():
    from sklearn.datasets import load_digits

    data = load_digits()
    training, evaluation = (open_source("digits", None, split) for split in ("train", "validation"))
    assert (len(training), len(evaluation)) == (1438, 359)
    held_out = set(range(4, 1797, 5))
    kept = [index for index in range(1797) if index not in held_out]
    for source, indices in ((evaluation, sorted(held_out)), (training, kept)):
        for place in (0, 1, 100, len(source) - 1):
            image, label = source.load(place)
            assert (image.mode, image.size, label) == ("L", (8, 8), data.target[indices[place]])
            assert np.abs(np.asarray(image) / 255 * 16 - data.images[indices[place]]).max() < 0.04
    assert training.info.num_classes == 10 and training.info.in_chans == 1 and training.info.image_size == 8
    assert training.info.class_names == tuple("0123456789")


@pytest.mark.parametrize("name", ["digits", pytest.param("fashion_mnist", marks=needs_fashion_mnist)])
def test_stated_mean_and_deviation_are_those_of_the_training_images(name):
    source = open_source(name, None, "train")
    assert source.info.mean == (pytest.approx(source.images.mean() / 255, abs=5e-5),)
    assert source.info.std == (pytest.approx(source.images.std() / 255, abs=5e-5),)


@pytest.mark.parametrize("name", ["digits", pytest.param("fashion_mnist", marks=needs_fashion_mnist)])
def test_split_names_have_synonyms_and_typos_are_refused(name):
    sizes = [len(open_source(name, None, split)) for split in ("validation", "val", "test", "eval")]
    assert len(set(sizes)) == 1
    assert len(open_source(name, None, "training")) > sizes[0]
    assert refusal(name, None, "trian") == f"data set '{name}' has the splits train and validation, not 'trian'"


@needs_fashion_mnist
def test_fashion_mnist_has_its_published_sizes():
    training, evaluation = (open_source("fashion_mnist", None, split) for split in ("train", "validation"))
    assert (len(training), len(evaluation)) == (60_000, 10_000)
    assert np.bincount(training.labels).tolist() == [6000] * 10
    assert np.bincount(evaluation.labels).tolist() == [1000] * 10
    image, label = training.load(0)
    assert (image.mode, image.size, label) == ("L", (28, 28), 9)
    assert training.info.class_names[label] == "Ankle boot"
    assert training.fingerprint() != evaluation.fingerprint()
    assert training.fingerprint() == open_source("fashion_mnist", None, "train").fingerprint()


@needs_fashion_mnist
@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"])
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_from_a_folder(tmp_path, below, zipped):
    folder = tmp_path / below
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        packed = FASHION_MNIST_SYSTEM_FOLDER / f"{name}.gz"
        # The folder must be recognised by its training part, but only the evaluation part is read here.
        if zipped:
            shutil.copy(packed, folder)
        else:
            (folder / name).write_bytes(gzip.decompress(packed.read_bytes()) if name.startswith("t10k") else b"")
    source = open_source("fashion_mnist", str(tmp_path), "val")
    assert source.fingerprint() == open_source("fashion_mnist", None, "val").fingerprint()


def test_a_folder_without_the_files_says_where_to_get_them(tmp_path):
    said = refusal("fashion_mnist", str(tmp_path), "train")
    assert said.startswith(f"fashion_mnist: train-images-idx3-ubyte.gz is not in {tmp_path}; install Debian's package")
    assert "--data-dir" in said and "--dataset-download" in said


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


def fill(folder, images, labels, pack=gzip.compress):
    for name, content in zip(FILES[:2], (images, labels), strict=True):
        (folder / f"{name}.gz").write_bytes(pack(content))


IMAGES, LABELS = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([2, 0, 1], dtype=np.uint8)


def test_an_idx_file_is_read_as_its_header_says(tmp_path):
    fill(tmp_path, idx(IMAGES), idx(LABELS))
    source = open_source("fashion_mnist", str(tmp_path), "train")
    assert np.array_equal(source.load(1)[0], IMAGES[1]) and source.load(1)[1] == 0
    assert np.array_equal(read_idx(tmp_path, FILES[1]), LABELS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:5],
        lambda packed: b"",
        lambda packed: b"<html>not found</html>",
        lambda packed: packed[:15] + bytes(byte ^ 255 for byte in packed[15:30]) + packed[30:],
        lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:],
        lambda packed: gzip.compress(b""),
        lambda packed: gzip.compress(b"\0\0"),
        lambda packed: gzip.compress(idx(IMAGES)[:-1]),
        lambda packed: gzip.compress(idx(IMAGES) + b"\0"),
        lambda packed: gzip.compress(b"\0\0\x0d\x03" + idx(IMAGES)[4:]),
        lambda packed: gzip.compress(b"\0\0\x08\xff" + b"\xff" * 2000),
    ],
    ids=range(13),
)
def test_a_damaged_file_is_named(tmp_path, damage):
    fill(tmp_path, idx(IMAGES), idx(LABELS))
    path = tmp_path / f"{FILES[0]}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert refusal("fashion_mnist", str(tmp_path), "train").startswith(f"{path}: ")


def test_parts_that_do_not_belong_together(tmp_path):
    fill(tmp_path, idx(IMAGES), idx(LABELS[:2]))
    assert refusal("fashion_mnist", str(tmp_path), "train") == f"{tmp_path}: 3 images but 2 labels in 'train'"
    (tmp_path / f"{FILES[1]}.gz").unlink()
    assert refusal("fashion_mnist", str(tmp_path), "train").startswith(f"{tmp_path / FILES[1]}: cannot be read")
    assert refusal("fashion_mnist", str(tmp_path), "val").startswith(f"{tmp_path / FILES[2]}: cannot be read")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digit", "unknown data set 'digit': did you mean 'digits'? (or a path with --data-dir, timm's torch/NAME"),
        ("fashion-mnist", "unknown data set 'fashion-mnist': did you mean 'fashion_mnist'?"),
        ("torch", "unknown data set 'torch': known: aircraft, cifar10, cifar100, cub200, digits, fashion_mnist, "),
        ("imagenett", "unknown data set 'imagenett': did you mean 'imagenet'"),
        ("wds/", "--dataset wds/ needs the directory of the shards, or a pattern of them: --data-dir SHARDS"),
        (
            "tfds/name",
            "data set 'tfds/name': streams have no fixed order, so a run on one could not be resumed exactly",
        ),
        ("HFIDS/name", "data set 'HFIDS/name': streams"),
        ("", "no data: name a directory (train.py DATA or --data-dir) or a data set (--dataset digits)"),
        ("folder", "no data: name a directory"),
    ],
)
def test_an_unknown_name_is_refused(name, said):
    assert refusal(name, None, "train").startswith(said)


def test_a_class_map_needs_a_folder():
    assert refusal("digits", None, "train", class_map="x.txt").startswith(
        "--class-map is for class directories, archives and tables"
    )


def test_the_embedded_sets_are_registered():
    assert {"digits", "fashion_mnist"} <= set(DATASETS)

"""Data sets of the package `datasets`: fields, classes, labels, fingerprints; and folders by file ending."""

import io
import sys

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.long_tail_and_noise import modify_training_set
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.errors import UserError
from tests.data.images import class_folders, picture


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with train.parquet: an image, a class, a list of classes, a vector and two yes-or-no fields."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("table")
    names = datasets.ClassLabel(names=["cat", "dog", "emu"])
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "kind": names,
            "kinds": datasets.Sequence(names),
            "vector": datasets.Sequence(datasets.Value("float32")),
            "tame": datasets.Value("int64"),
            "wild": datasets.Value("int64"),
        }
    )
    rows = []
    for number in range(6):
        stored = io.BytesIO()
        picture(number).save(stored, "PNG")
        kinds = sorted({number % 3, 2})
        rows.append(
            {
                "photo": {"bytes": stored.getvalue(), "path": f"{number}.png"},
                "kind": number % 3,
                "kinds": kinds,
                "vector": [float(place in kinds) * 0.5 for place in range(3)],
                "tame": number % 2,
                "wild": 1,
            }
        )
    made = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in features}, features=features)
    made.to_parquet(folder / "train.parquet")
    return folder


def opened(table, **fields):
    return open_source(f"hfds/{table}", str(table.parent / "cache"), "train", reading=ReaderOptions("photo", **fields))


def refusal(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        open_source(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_class_by_its_field(table):
    source = opened(table, target_key="kind")
    assert len(source) == 6 and source.info.num_classes == 3 and source.info.class_names == ("cat", "dog", "emu")
    image, label = source.load(4)
    assert label == 1 and type(label) is int and np.array_equal(np.asarray(image), np.asarray(picture(4)))
    assert source.read_labels().tolist() == [0, 1, 2, 0, 1, 2] and source.read_labels().dtype == np.int64
    assert "4.png" in source.name(4)
    assert source.fingerprint() == opened(table, target_key="kind").fingerprint()
    assert source.fingerprint() != opened(table, target_key="tame").fingerprint()
    assert len(set(modify_training_set(source, 0, None, 0.5).read_labels().tolist())) == 3


@pytest.mark.parametrize(
    ("fields", "expected", "names"),
    [
        ({"target_key": "kinds"}, [0.0, 1.0, 1.0], ("cat", "dog", "emu")),
        ({"target_key": "vector", "target_format": "multihot"}, [0.0, 0.5, 0.5], None),
        ({"target_key": "tame,wild"}, [0.0, 1.0], ("tame", "wild")),
    ],
)
def test_any_number_of_labels_by_index_by_vector_and_by_fields(table, fields, expected, names):
    source = opened(table, **fields)
    _, label = source.load(4)
    assert source.info.multi_hot and source.info.num_classes == len(expected) and source.info.class_names == names
    assert label.dtype == np.float32 and label.tolist() == expected
    assert source.read_labels().shape == (6, len(expected)) and source.read_labels()[4].tolist() == expected


def test_what_cannot_be_read_is_one_line(table):
    name, cache = f"hfds/{table}", str(table.parent / "cache")
    assert refusal(name, cache, "test").startswith(f"data set '{name}' in {cache}: ")
    assert "'picture'" in refusal(name, cache, "train", reading=ReaderOptions("picture", "kind"))
    assert "target 'sort' cannot be read" in refusal(name, cache, "train", reading=ReaderOptions("photo", "sort"))
    assert "trust_remote_code is not supported" in refusal(
        name, cache, "train", reading=ReaderOptions("photo", "kind", trust_remote_code=True)
    )


def write_split(folder, split, labels, **columns):
    """folder/SPLIT.parquet: an image for each label."""
    datasets = pytest.importorskip("datasets")
    images = []
    for number in range(len(labels)):
        stored = io.BytesIO()
        picture(number).save(stored, "PNG")
        images.append({"bytes": stored.getvalue(), "path": f"{split}_{number}.png"})
    made = datasets.Dataset.from_dict({"image": images, "label": labels, **columns})
    folder.mkdir(exist_ok=True)
    made.cast_column("image", datasets.Image()).to_parquet(folder / f"{split}.parquet")
    return f"hfds/{folder}"


def test_text_labels_become_classes_in_the_same_order_in_every_split(tmp_path):
    write_split(tmp_path / "data", "train", ["shape 10", "shape 9", "Circle", "shape 9"])
    name = write_split(tmp_path / "data", "validation", ["shape 10", "only here"])
    training, evaluation = (open_source(name, str(tmp_path / "cache"), split) for split in ("train", "validation"))
    assert training.info.class_names == ("Circle", "only here", "shape 9", "shape 10") == evaluation.info.class_names
    assert training.read_labels().tolist() == [3, 2, 0, 2] and evaluation.read_labels().tolist() == [3, 1]
    image, label = evaluation.load(1)
    assert label == 1 and np.array_equal(np.asarray(image), np.asarray(picture(1)))


def test_lists_of_text_labels_become_vectors(tmp_path):
    name = write_split(tmp_path / "data", "train", [["sky", "sea"], [], ["land"]])
    source = open_source(name, str(tmp_path / "cache"), "train")
    assert source.info.multi_hot and source.info.class_names == ("land", "sea", "sky")
    assert source.read_labels().tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]


def test_a_class_map_numbers_text_labels(tmp_path):
    name = write_split(tmp_path / "data", "train", ["dog", "cat"])
    (tmp_path / "map.txt").write_text("dog\nbird\ncat\n")
    source = open_source(name, str(tmp_path / "cache"), "train", class_map=str(tmp_path / "map.txt"))
    assert source.read_labels().tolist() == [0, 2] and source.info.num_classes == 3
    (tmp_path / "map.txt").write_text("dog\n")
    said = refusal(name, str(tmp_path / "cache"), "train", class_map=str(tmp_path / "map.txt"))
    assert said == f"data set '{name}', split 'train': label 'cat' is not in --class-map"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["cat", None], "an image has no label, its 'label' is empty"),
        ([0, 1, None], "an image has no label, its 'label' is empty"),
        ([0, 1, -1], "label -1 is not a class (there are 2)"),
        ([0, 2, 1], "label 2 is not a class (there are 2)"),
        ([0.0, 0.5], "label 0.5 is not a class; --target-key names the field of the labels"),
    ],
)
def test_a_label_that_is_not_a_class_is_named_before_an_image_is_blamed(tmp_path, labels, said):
    name = write_split(tmp_path / "data", "train", labels)
    reading = ReaderOptions(num_classes=2)
    assert refusal(name, str(tmp_path / "cache"), "train", reading=reading).endswith(f"split 'train': {said}")


def test_nothing_is_written_into_the_current_directory(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    name = write_split(tmp_path / "set", "train", ["cat", "dog"])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert len(open_source(name, None, "train")) == 2
    assert not list((tmp_path / "here").iterdir())
    assert list((tmp_path / "cache").iterdir()), "the data set is in the cache of the package"


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.delitem(sys.modules, "timm.data.readers.reader_hfds", raising=False)
    said = "--dataset hfds/x needs the package 'datasets'. Install it with: pip install 'sosr-timm[hfds]'"
    assert refusal("hfds/x", None, "train") == said


@pytest.mark.parametrize(
    ("dataset", "reading", "said"),
    [
        ("digits", ReaderOptions("photo"), "--input-key: digits has no such choice, hfds/NAME and tables"),
        ("digits", ReaderOptions(target_key="kind"), "--target-key: digits has no such choice"),
        ("torch/cifar10", ReaderOptions(target_format="multihot"), "--target-format: torch/cifar10 has no such choice"),
        ("", ReaderOptions(target_key="kind"), "--target-key: class directories has no such choice, hfds/NAME and"),
        ("fashion_mnist", ReaderOptions(trust_remote_code=True), "--dataset-trust-remote-code: fashion_mnist has"),
    ],
)
def test_a_field_is_refused_where_there_are_none(tmp_path, dataset, reading, said):
    assert refusal(dataset, str(class_folders(tmp_path)), "train", reading=reading).startswith(said)


def test_file_endings_choose_the_images_of_a_folder(tmp_path):
    class_folders(tmp_path)
    picture(99).save(tmp_path / "train" / "cat" / "more.bmp")
    root = str(tmp_path)
    assert len(open_source("", root, "train")) == 6
    assert len(open_source("", root, "train", reading=ReaderOptions(".png"))) == 6
    assert len(open_source("", root, "train", reading=ReaderOptions(".bmp;.png"))) == 7
    assert "holds no image (.bmp)" in refusal("", root, "train", reading=ReaderOptions(".bmp"))
    assert refusal("", root, "train", reading=ReaderOptions("png")).endswith("such as '.png;.jpg', not 'png'")


def test_an_evaluation_reads_the_fields_of_its_run_unless_told_otherwise():
    run = ReaderOptions("photo", "kind", None, True, 10)
    assert ReaderOptions().otherwise(run) == run
    assert ReaderOptions(target_key="sort").otherwise(run) == ReaderOptions("photo", "sort", None, True, 10)

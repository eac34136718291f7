"""A folder of class directories: found by its split's names, checked before anything is read."""

import os
import tarfile

import numpy as np
import pytest
from timm.data import create_dataset

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.errors import UserError
from tests.data.images import class_folders, write_picture


def refusal(root, split="train", **keywords):
    with pytest.raises(UserError) as caught:
        open_source("", str(root), split, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def labels(source):
    return {os.path.basename(os.path.dirname(source.name(i))): source.load(i)[1] for i in range(len(source))}


@pytest.mark.parametrize("name", ["", "folder"])
def test_images_and_labels_are_timms(tmp_path, name):
    root = class_folders(tmp_path)
    source = open_source(name, str(root), "train")
    theirs = create_dataset("", root=str(root), split="train")
    assert len(source) == len(theirs) == 6
    for index in range(6):
        image, label = source.load(index)
        assert np.array_equal(image, theirs[index][0]) and label == theirs[index][1]
        assert source.name(index) == theirs.filename(index, absolute=True)
    assert source.info.class_names == ("cat", "dog") and source.info.num_classes == 2


@pytest.mark.parametrize("asked", ["validation", "val", "valid", "eval", "evaluation"])
@pytest.mark.parametrize("there", ["validation", "val", "valid", "eval", "evaluation", "test"])
def test_names_of_the_evaluation_split(tmp_path, asked, there):
    class_folders(tmp_path, splits=("train", there))
    assert f"{os.sep}{there}{os.sep}" in open_source("", str(tmp_path), asked).name(0)


def test_the_name_asked_for_comes_before_its_synonyms(tmp_path):
    class_folders(tmp_path, splits=("train", "validation", "val", "test", "holdout"))
    for split in ("val", "validation", "test", "holdout"):
        assert f"{os.sep}{split}{os.sep}" in open_source("", str(tmp_path), split).name(0)
    assert f"{os.sep}train{os.sep}" in open_source("", str(tmp_path), "training").name(0)


def test_a_split_that_is_not_there(tmp_path):
    class_folders(tmp_path, splits=("train", "val"))
    assert refusal(tmp_path, "test") == f"data directory {tmp_path} has no split 'test' (test); it has train, val"
    assert refusal(tmp_path, "holdout").endswith("has no split 'holdout' (holdout); it has train, val")
    class_folders(tmp_path / "only", splits=("train",))
    assert "has no split 'validation' (validation or val or " in refusal(tmp_path / "only", "validation")


def test_the_folder_of_a_split_can_be_named_itself(tmp_path):
    class_folders(tmp_path, splits=("val",))
    assert len(open_source("", str(tmp_path / "val"), "validation")) == 6


def test_classes_are_numbered_as_people_count(tmp_path):
    class_folders(tmp_path, classes=("10", "9", "1", "0"), each=1)
    assert labels(open_source("", str(tmp_path), "train")) == {"0": 0, "1": 1, "9": 2, "10": 3}


def test_other_files_beside_the_images_do_not_count(tmp_path):
    class_folders(tmp_path)
    for place in (tmp_path, tmp_path / "train", tmp_path / "train" / "cat"):
        for name in ("README", "README.md", ".DS_Store", "Thumbs.db", "list.txt", "photo.jpg.part"):
            (place / name).write_bytes(b"not an image")
    (tmp_path / "train" / ".git").mkdir()
    assert len(open_source("", str(tmp_path), "train")) == 6


def test_linked_folders_and_images_are_followed(tmp_path):
    class_folders(tmp_path / "disk", classes=("cat", "dog"))
    root = tmp_path / "links"
    (root / "train").mkdir(parents=True)
    (root / "train" / "cat").symlink_to(tmp_path / "disk" / "train" / "cat")
    (root / "train" / "dog").mkdir()
    (root / "train" / "dog" / "0.png").symlink_to(tmp_path / "disk" / "train" / "dog" / "1.png")
    source = open_source("", str(root), "train")
    assert len(source) == 4 and [source.load(index)[1] for index in range(4)] == [0, 0, 0, 1]


def test_folders_that_are_not_there(tmp_path):
    class_folders(tmp_path / "images")
    assert refusal(tmp_path / "image") == f"data directory {tmp_path / 'image'} does not exist: did you mean 'images'?"
    assert refusal(tmp_path / "no" / "where") == f"data directory {tmp_path / 'no' / 'where'} does not exist"
    said = refusal(write_picture(tmp_path / "x.png"))
    known = ".tar, .zip, .csv, .tsv, .parquet"
    assert said == f"data directory {tmp_path / 'x.png'} is a file, and neither an archive nor a table ({known})"


def test_an_empty_folder(tmp_path):
    assert refusal(tmp_path) == f"data directory {tmp_path} is empty"
    (tmp_path / "train").mkdir()
    assert refusal(tmp_path) == f"data directory {tmp_path / 'train'} is empty"


def test_images_without_class_folders(tmp_path):
    write_picture(tmp_path / "train" / "a.png")
    said = refusal(tmp_path)
    assert "holds 1 files and no class directories; move each image into the directory of its class" in said
    assert f"{tmp_path}/train/CLASS/a.png" in said


def test_an_image_beside_the_class_folders_makes_no_class(tmp_path):
    class_folders(tmp_path)
    write_picture(tmp_path / "train" / "preview.png")
    assert f"{tmp_path / 'train'} holds images beside its class directories" in refusal(tmp_path)


@pytest.mark.parametrize("place", ["train/.ipynb_checkpoints", "train/cat/.ipynb_checkpoints"])
def test_a_hidden_folder_makes_no_class(tmp_path, place):
    class_folders(tmp_path)
    write_picture(tmp_path / place / "0.png")
    assert "the hidden directory '.ipynb_checkpoints' holds images and would count as a class" in refusal(tmp_path)


def test_a_class_without_images_would_number_the_others_anew(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "train" / "ant").mkdir()
    assert refusal(tmp_path).startswith(f"class directory {tmp_path / 'train' / 'ant'} is empty; remove it or fill it")
    (tmp_path / "train" / "ant" / "0.webp").write_bytes(b"")
    said = refusal(tmp_path)
    assert said.startswith(f"class directory {tmp_path / 'train' / 'ant'} holds no image (.png, .jpg, .jpeg)")
    write_picture(tmp_path / "train" / "ant" / "deeper" / "0.PNG")
    assert open_source("", str(tmp_path), "train").info.class_names == ("cat", "deeper", "dog"), "timm names the leaf"


def test_a_class_map_numbers_and_selects(tmp_path):
    class_folders(tmp_path, classes=("ant", "bee", "cat"))
    (tmp_path / "map.txt").write_text("cat\nunseen\nant\n\n")
    source = open_source("", str(tmp_path), "train", class_map=str(tmp_path / "map.txt"))
    assert labels(source) == {"cat": 0, "ant": 2} and len(source) == 6
    assert source.info.num_classes == 3 and source.info.class_names == ("cat", "unseen", "ant")
    (tmp_path / "train" / "near.txt").write_text("bee")
    assert labels(open_source("", str(tmp_path), "train", class_map="near.txt")) == {"bee": 0}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"cat\n\ndog\n", "map.txt, line 2: empty; every line is one class"),
        (b"cat\ndog\ncat\n", "map.txt, line 3: 'cat' is listed twice"),
        (b"\n", "map.txt is empty"),
        (b"\x80\x04\x95pickle", "map.txt: cannot be read ('utf-8' codec"),
        (b"horse\n", "Found 0 images in subfolders of"),
    ],
)
def test_a_faulty_class_map(tmp_path, content, said):
    class_folders(tmp_path)
    (tmp_path / "map.txt").write_bytes(content)
    assert said in refusal(tmp_path, class_map=str(tmp_path / "map.txt"))


def test_a_class_map_that_is_not_there(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "train" / "classes.txt").write_text("cat")
    assert refusal(tmp_path, class_map="class.txt") == "class map class.txt: no such file: did you mean 'classes.txt'?"


@pytest.mark.parametrize("alone", [True, False])
def test_a_tar_file_of_class_folders(tmp_path, alone):
    class_folders(tmp_path / "files")
    for split in ("train", "val"):
        with tarfile.open(tmp_path / f"{split}.tar", "w") as tar:
            tar.add(tmp_path / "files" / split, arcname=".")
    source = open_source("", str(tmp_path / "train.tar" if alone else tmp_path), "train")
    files = open_source("", str(tmp_path / "files"), "train")
    assert source.info == files.info and len(source) == len(files)
    for index in range(len(files)):
        assert np.array_equal(source.load(index)[0], files.load(index)[0])
        assert source.load(index)[1] == files.load(index)[1]
    if not alone:
        assert open_source("", str(tmp_path), "validation").load(0)[0] != source.load(0)[0]


def test_a_damaged_tar_file(tmp_path):
    path = tmp_path / "train.tar"
    path.write_bytes(b"not a tar file" * 100)
    assert refusal(tmp_path).startswith(f"data directory {path}: ")
    with tarfile.open(path, "w"):
        pass
    assert refusal(path).startswith(f"data directory {path}: ")


def test_a_class_map_is_no_pickle(tmp_path):
    class_folders(tmp_path)
    for name in ("map.pkl", "map.pickle"):
        with pytest.raises(
            UserError, match=f"class map {name}: a pickle can run code when it is read; write one class"
        ):
            open_source("", str(tmp_path), "train", class_map=name)


def test_splits_one_level_deeper_are_named(tmp_path):
    class_folders(tmp_path / "shapes")
    assert refusal(tmp_path) == f"data directory {tmp_path} has its splits one level deeper; name {tmp_path / 'shapes'}"


def test_classes_that_timm_sorts_alike_are_refused_without_a_class_map(tmp_path):
    class_folders(tmp_path, classes=("cat", "Cat", "ant"))
    assert "timm sorts the classes 'Cat' and 'cat' alike, so their numbers would change from start to" in refusal(
        tmp_path
    )
    (tmp_path / "map.txt").write_text("cat\nCat\nant\n")
    source = open_source("", str(tmp_path), "train", class_map=str(tmp_path / "map.txt"))
    assert labels(source) == {"cat": 0, "Cat": 1, "ant": 2}

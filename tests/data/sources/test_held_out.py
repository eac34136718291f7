"""--val-fraction: which images are held out depends on their names alone."""

import hashlib
import tarfile
import unicodedata

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.held_out import hold_out, is_held_out
from sosr_timm.data.sources.long_tail_and_noise import modify_training_set
from sosr_timm.errors import UserError
from tests.data.images import array_source, class_folders
from tests.data.sources.test_archives import pack
from tests.data.sources.test_tables import write


def keys(source):
    return [source.key(index) for index in range(len(source))]


def test_the_rule_is_the_written_one():
    for key in ("cat/0.png", "dog/größe.jpg", "a"):
        number = int(hashlib.sha256(key.encode()).hexdigest()[:16], 16)
        for fraction in (0.01, 0.3, 0.5, 0.99):
            assert is_held_out(key, fraction) == (number < fraction * 2**64)
    assert is_held_out("ö.png", 0.5) == is_held_out(unicodedata.normalize("NFD", "ö.png"), 0.5)
    share = np.mean([is_held_out(f"cat/{number}.jpg", 0.1) for number in range(20000)])
    assert abs(share - 0.1) < 0.01


def test_both_parts_are_the_whole_and_a_larger_fraction_keeps_what_a_smaller_one_held_out(tmp_path):
    source = open_source("", str(class_folders(tmp_path, splits=("",), each=30)), "train")
    rest, held = hold_out(source, 0.2)
    assert sorted(keys(rest) + keys(held)) == sorted(keys(source)) and len(held) + len(rest) == 60
    assert keys(held) == [key for key in keys(source) if is_held_out(key, 0.2)], "in order"
    assert set(keys(held)) < set(keys(hold_out(source, 0.5)[1]))
    assert rest.info.origin == held.info.origin
    assert rest.info.origin["held_out"] == len(held) and rest.info.origin["val_fraction"] == 0.2
    assert rest.info.class_names == source.info.class_names
    assert rest.read_labels().tolist() == [rest.load(index)[1] for index in range(len(rest))]
    modified = modify_training_set(rest, 0, None, 0.5)
    assert modified.info.origin["held_out"] == len(held) and len(modified) == len(rest)


def test_an_image_keeps_its_part_when_others_come_and_go(tmp_path):
    root = class_folders(tmp_path, splits=("",), each=20)
    before = set(keys(hold_out(open_source("", str(root), "train"), 0.3)[1]))
    (root / "cat" / "0.png").rename(root / "cat" / "new.png")
    (root / "dog" / "7.png").unlink()
    source = open_source("", str(root), "train")
    after = set(keys(hold_out(source, 0.3)[1]))
    assert before & set(keys(source)) == after - {"cat/new.png"}


def test_the_same_images_are_held_out_of_a_directory_an_archive_and_a_table(tmp_path):
    root = class_folders(tmp_path / "files", splits=("",), each=12)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    table = write(root / "list.csv", [(name, name.split("/")[0]) for name in names])
    expected = set(keys(hold_out(open_source("", str(root), "train"), 0.4)[1]))
    assert 0 < len(expected) < 24
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(root, arcname=".")
    for other in (pack(root, tmp_path / "a.zip", "top/"), tmp_path / "a.tar", table):
        assert set(keys(hold_out(open_source("", str(other), "train"), 0.4)[1])) == expected


def test_a_set_in_memory_is_divided_by_number():
    rest, held = hold_out(array_source(count=200), 0.25)
    assert 30 < len(held) < 70 and len(rest) + len(held) == 200
    assert keys(held)[0].startswith("noise image ")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_range(fraction):
    with pytest.raises(UserError, match=r"--val-fraction .*: a share of the training images, above 0 and below 1"):
        hold_out(array_source(), fraction)


def test_a_part_without_images():
    with pytest.raises(UserError, match=r"--val-fraction 1e-09 holds out 0 of 24 images; both parts need at least one"):
        hold_out(array_source(), 1e-9)

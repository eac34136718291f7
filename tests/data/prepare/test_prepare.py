"""Preparing each data set from archives laid out like the official ones, and everything that can be wrong with them."""

import dataclasses
import json
import os
import shutil
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from sosr_timm.data.__main__ import main
from sosr_timm.data.prepare.manifest import check_folder, read_list, read_manifest
from sosr_timm.data.prepare.preparations import PREPARATIONS
from sosr_timm.data.prepare.run import prepare
from sosr_timm.data.prepare.store import Store
from sosr_timm.errors import UserError
from tests.data.archives import SMALL, small, tar

NAMES = list(SMALL)
FILES = {
    "tiny_imagenet": ("train/n02/n02_1.JPEG", "val/n01/val_1.JPEG", "words.txt"),
    "imagenet": (
        "train/n01/n01_2.JPEG",
        "val/n01/ILSVRC2012_val_00000001.JPEG",
        "val/n02/ILSVRC2012_val_00000003.JPEG",
    ),
    "cub200": ("train/001.Black_footed_Albatross/bird_4.jpg", "test/002.Laysan_Albatross/bird_1.jpg"),
    "stanford_cars": (
        "train/002.Ram_C-V_Cargo_Van_Minivan_2012/00003.jpg",
        "test/001.AM_General_Hummer_SUV_2000/00002.jpg",
    ),
    "flowers102": ("train/002/image_00002.jpg", "val/001/image_00003.jpg", "test/002/image_00008.jpg"),
    "aircraft": ("train/002.F-A-18/0000003.jpg", "test/001.Boeing_707-320/0000006.jpg"),
    "voc": ("VOCdevkit/VOC2007/JPEGImages/test_2007_0.jpg", "VOCdevkit/VOC2012/Annotations/trainval_2012_1.xml"),
    "cifar10": ("data_batch_5.bin", "test_batch.bin", "batches.meta.txt"),
    "cifar100": ("train.bin", "test.bin", "fine_label_names.txt"),
}


def refusal(*arguments, **keywords):
    with pytest.raises(UserError) as caught:
        prepare(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def nothing_left(folder):
    return sorted(path.name for path in folder.iterdir()) == ["archives"]


def unpack(folder):
    for path in sorted(folder.iterdir()):
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
            path.unlink()
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            path.unlink()


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_is_laid_out_counted_and_listed(tmp_path, name):
    preparation = small(name, tmp_path / "archives")
    said = prepare(preparation, tmp_path / "archives", tmp_path / "made")
    assert said.startswith(f"{tmp_path / 'made'}: {name}, {preparation.spec.num_classes} classes, images: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "made"]
    manifest = read_manifest(tmp_path / "made")
    assert manifest.name == name and not manifest.subset and len(manifest.classes) == preparation.spec.num_classes
    for split, count in preparation.spec.counts.items():
        entry = manifest.splits[split]
        assert entry["images"] == count and sum(entry["per_class"]) in ([count] if name != "voc" else [0])
    listed = {path for split in manifest.splits for path in read_list(manifest, split)}
    assert set(FILES[name]) <= listed
    lists = {entry["list"] for entry in manifest.splits.values()}
    present = {
        path.relative_to(tmp_path / "made").as_posix() for path in (tmp_path / "made").rglob("*") if path.is_file()
    }
    assert present == listed | lists | {"manifest.json"}
    for path in present:
        if path.lower().endswith((".jpg", ".jpeg")):
            Image.open(tmp_path / "made" / path).load()
    archives = json.loads((tmp_path / "made" / "manifest.json").read_text())["archives"]
    assert [entry["file"] for entry in archives] == [archive.file for archive in preparation.spec.archives]
    assert all(len(entry["sha256"]) == 64 and entry["bytes"] > 0 for entry in archives)
    assert check_folder(tmp_path / "made") == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("imagenet",)])
def test_an_unpacked_copy_gives_the_same_files(tmp_path, name):
    preparation = small(name, tmp_path / "archives")
    prepare(preparation, tmp_path / "archives", tmp_path / "one")
    unpack(tmp_path / "archives")
    prepare(preparation, tmp_path / "archives", tmp_path / "two")
    one, two = read_manifest(tmp_path / "one"), read_manifest(tmp_path / "two")
    assert one.splits == two.splits and one.classes == two.classes
    if len(preparation.spec.archives) == 1:
        # The unpacked folder itself will do as well as the one above it.
        top = preparation.spec.archives[0].inside.split("/")[0]
        prepare(preparation, tmp_path / "archives" / top, tmp_path / "three")
        assert read_manifest(tmp_path / "three").splits == one.splits


def test_the_lists_are_those_of_sha256sum(tmp_path):
    prepare(small("cub200", tmp_path / "archives"), tmp_path / "archives", tmp_path / "made")
    found = subprocess.run(["sha256sum", "-c", "train.sha256"], cwd=tmp_path / "made", capture_output=True, text=True)
    assert found.returncode == 0 and found.stdout.count(": OK") == 4


def test_a_second_time_changes_nothing_and_another_set_is_not_written_over(tmp_path):
    preparation = small("flowers102", tmp_path / "archives")
    prepare(preparation, tmp_path / "archives", tmp_path / "made")
    before = (tmp_path / "made" / "manifest.json").stat()
    shutil.rmtree(tmp_path / "archives")
    assert prepare(preparation, tmp_path / "archives", tmp_path / "made").endswith(
        "was prepared before and all its files are there"
    )
    assert (tmp_path / "made" / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns
    other = small("cub200", tmp_path / "archives")
    said = refusal(other, tmp_path / "archives", tmp_path / "made")
    assert said == f"{tmp_path / 'made'} holds flowers102; name another directory for cub200"
    (tmp_path / "made" / "train" / "001" / "image_00001.jpg").unlink()
    assert refusal(preparation, tmp_path, tmp_path / "made").startswith(
        f"{tmp_path / 'made' / 'train/001/image_00001.jpg'} is missing (1 such files in train)"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    assert "mine exists already: name a directory" in refusal(other, tmp_path / "archives", tmp_path / "mine")


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    preparation = small("tiny_imagenet", tmp_path / "archives")
    written, write = [], Store._write

    def until_the_fourth(self, path, content):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path.name)
        write(self, path, content)

    monkeypatch.setattr(Store, "_write", until_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        prepare(preparation, tmp_path / "archives", tmp_path / "made")
    assert not (tmp_path / "made").exists()
    unfinished = tmp_path / ".made.unfinished"
    (unfinished / "train").mkdir(exist_ok=True)
    (unfinished / "train" / "left_by_another_attempt.JPEG").write_bytes(b"x")
    (unfinished / "val" / "n02" / "val_0.JPEG").write_bytes(b"changed")
    again = []
    monkeypatch.setattr(
        Store, "_write", lambda self, path, content: (again.append(path.name), write(self, path, content))
    )
    prepare(preparation, tmp_path / "archives", tmp_path / "made")
    assert set(written) & set(again) == {"val_0.JPEG"} and len(again) == 10 - 4 + 1
    assert check_folder(tmp_path / "made") == [] and not unfinished.exists()


def test_a_full_disk_is_one_line_and_the_rest_follows_later(tmp_path, monkeypatch):
    preparation = small("cub200", tmp_path / "archives")
    replace, left = os.replace, [3]

    def full(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
    assert (
        said.startswith(f"{tmp_path / 'made'} could not be written (No space left on device; ")
        and "continues from what is in" in said
    )
    monkeypatch.undo()
    assert not (tmp_path / "made").exists()
    assert not list((tmp_path / ".made.unfinished").rglob("*.tmp"))
    prepare(preparation, tmp_path / "archives", tmp_path / "made")
    assert check_folder(tmp_path / "made") == []


@pytest.mark.parametrize("name", NAMES)
def test_other_counts_are_refused_unless_a_part_is_asked_for(tmp_path, name):
    preparation = small(name, tmp_path / "archives")
    split = list(preparation.spec.counts)[-1]
    counts = {**preparation.spec.counts, split: 5_794}
    more = dataclasses.replace(preparation, spec=dataclasses.replace(preparation.spec, counts=counts, per_class={}))
    found = preparation.spec.counts[split]
    assert refusal(more, tmp_path / "archives", tmp_path / "made") == f"{name}: {found} images in {split}, not 5,794"
    assert nothing_left(tmp_path)
    said = prepare(more, tmp_path / "archives", tmp_path / "made", allow_subset=True)
    assert said.endswith("(a part, not the official set)") and read_manifest(tmp_path / "made").subset


def test_counts_of_classes_are_official_too(tmp_path):
    preparation = small("tiny_imagenet", tmp_path / "archives")
    each = dataclasses.replace(preparation, spec=dataclasses.replace(preparation.spec, per_class={"train": 500}))
    assert (
        refusal(each, tmp_path / "archives", tmp_path / "made")
        == "tiny_imagenet: 2 images of class 0 in train, not 500"
    )
    classes = dataclasses.replace(preparation, spec=dataclasses.replace(preparation.spec, num_classes=200))
    assert refusal(classes, tmp_path / "archives", tmp_path / "made") == "tiny_imagenet has 200 classes, 3 were found"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "voc"])
def test_an_archive_that_is_not_the_official_one(tmp_path, name):
    small(name, tmp_path / "archives")
    official = PREPARATIONS[name]
    with_md5 = [archive for archive in official.spec.archives if archive.md5]
    assert with_md5 == list(official.spec.archives), "every archive has a published MD5"
    said = refusal(official, tmp_path / "archives", tmp_path / "made")
    assert said.startswith(
        f"{tmp_path / 'archives' / with_md5[0].file} is not the official file or not all of it (MD5 "
    )
    assert with_md5[0].md5 in said and nothing_left(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_archive_is_named(tmp_path, name):
    preparation = small(name, tmp_path / "archives")
    for archive in preparation.spec.archives:
        path = tmp_path / "archives" / archive.file
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
        said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
        assert archive.file in said and nothing_left(tmp_path)
        path.write_bytes(whole)


@pytest.mark.parametrize("member", ["../evil.jpg", "CUB_200_2011/../../evil.jpg", "/tmp/evil.jpg", "a\\..\\evil.jpg"])
def test_a_member_outside_of_the_folder_is_refused(tmp_path, member):
    preparation = small("cub200", tmp_path / "archives")
    tar(tmp_path / "archives" / "CUB_200_2011.tgz", {member: b"x"})
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made", allow_subset=True)
    assert "would be outside of the directory" in said and nothing_left(tmp_path)


def test_a_list_cannot_lead_outside_of_the_folder(tmp_path):
    top = "CUB_200_2011"
    preparation = small("cub200", tmp_path / "archives")
    files = {
        f"{top}/images.txt": b"1 ../../x/evil.jpg\n",
        f"{top}/image_class_labels.txt": b"1 1\n",
        f"{top}/train_test_split.txt": b"1 1\n",
        f"{top}/classes.txt": b"1 ../../..\n",
        "x/evil.jpg": b"x",
    }
    tar(tmp_path / "archives" / "CUB_200_2011.tgz", files)
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
    assert said.startswith(f"{tmp_path / 'archives' / 'CUB_200_2011.tgz'} lacks 1 of 1 images") and nothing_left(
        tmp_path
    )
    files[f"{top}/images.txt"] = b"1 good.jpg\n"
    files[f"{top}/images/good.jpg"] = b"x"
    tar(tmp_path / "archives" / "CUB_200_2011.tgz", files)
    assert "names 'train/../../../good.jpg', outside" in refusal(preparation, tmp_path / "archives", tmp_path / "made")


def test_links_are_no_images(tmp_path):
    preparation = small("flowers102", tmp_path / "archives")
    path = tmp_path / "archives" / "102flowers.tgz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("jpg/image_00001.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
    assert said == f"{path}: 'jpg/image_00001.jpg' is a link or a device where a file should be"


def test_a_missing_image_is_named_and_a_part_does_without(tmp_path):
    preparation = small("flowers102", tmp_path / "archives")
    path = tmp_path / "archives" / "102flowers.tgz"
    with tarfile.open(path) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive if "00003" not in info.name}
    tar(path, files)
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
    assert said == f"{path} lacks 1 of 8 images, jpg/image_00003.jpg first"
    prepare(preparation, tmp_path / "archives", tmp_path / "made", allow_subset=True)
    assert read_manifest(tmp_path / "made").splits["val"]["images"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_archive_says_where_it_comes_from(tmp_path, name):
    preparation = small(name, tmp_path / "archives")
    file = preparation.spec.archives[-1].file
    (tmp_path / "archives" / file).unlink()
    said = refusal(preparation, tmp_path / "archives", tmp_path / "made")
    assert said.startswith(f"{name}: no {file} in {tmp_path / 'archives'}; get {preparation.spec.archives[0].file}")
    assert f"from {preparation.spec.page}, then: sosr-data prepare {name} " in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda rows: rows[:-1], "bytes are not a multiple of the 3,074 bytes of an image"),
        (lambda rows: b"", "0 bytes are not a multiple"),
        (lambda rows: rows[:1] + b"\x64" + rows[2:], "image 0 has the label 100, of 100 classes"),
    ],
)
def test_a_damaged_file_of_cifar(tmp_path, damage, said):
    preparation = small("cifar100", tmp_path / "archives")
    path = tmp_path / "archives" / "cifar-100-binary.tar.gz"
    with tarfile.open(path) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}
    files["cifar-100-binary/train.bin"] = damage(files["cifar-100-binary/train.bin"])
    tar(path, files)
    assert said in refusal(preparation, tmp_path / "archives", tmp_path / "made", allow_subset=True)


def test_torchvisions_detection_set_reads_what_was_prepared(tmp_path):
    from torchvision.datasets import VOCDetection

    prepare(small("voc", tmp_path / "archives"), tmp_path / "archives", tmp_path / "made")
    for year, image_set in (("2007", "trainval"), ("2007", "test"), ("2012", "trainval")):
        pairs = VOCDetection(str(tmp_path / "made"), year=year, image_set=image_set)
        image, target = pairs[1]
        assert len(pairs) == 2 and image.size == (12, 10)
        assert [entry["name"] for entry in target["annotation"]["object"]] == ["cat"]


def test_the_command_line(tmp_path, capsys):
    small("cifar10", tmp_path / "archives")
    command = ["prepare", "cifar10", str(tmp_path / "archives" / "cifar-10-binary.tar.gz"), str(tmp_path / "made")]
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("sosr-data: error: ")
    assert main([*command, "--allow-subset"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path / 'made'}: cifar10, 10 classes, images: 50 in train, 10 in test")
    assert main(["check", str(tmp_path / "made")]) == 0
    content = bytearray((tmp_path / "made" / "test_batch.bin").read_bytes())
    content[3000] ^= 1
    (tmp_path / "made" / "test_batch.bin").write_bytes(content)
    capsys.readouterr()
    assert main(["check", str(tmp_path / "made")]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("test_batch.bin was changed (SHA-256 ")
    assert "1 files differ from what was prepared, the first: test_batch.bin was changed" in said.err
    assert main(["prepare", "cifar", "a", "b"]) == 2
    assert "did you mean 'cifar10'" in capsys.readouterr().err
    assert main(["check", str(tmp_path)]) == 2
    assert main(["prepare", "cifar10", str(tmp_path / "archives" / "other.zip"), str(tmp_path / "new")]) == 2


def test_a_check_finds_what_is_missing_and_what_is_too_much(tmp_path):
    prepare(small("aircraft", tmp_path / "archives"), tmp_path / "archives", tmp_path / "made")
    folder = tmp_path / "made" / "test" / "001.Boeing_707-320"
    (folder / "0000006.jpg").rename(folder / "mine.jpg")
    assert check_folder(tmp_path / "made") == [
        "test/001.Boeing_707-320/0000006.jpg is missing",
        "test/001.Boeing_707-320/mine.jpg does not belong to the data set",
    ]
    (tmp_path / "made" / "test.sha256").write_text("")
    with pytest.raises(UserError, match=r"test\.sha256 was changed since"):
        check_folder(tmp_path / "made")
    (tmp_path / "made" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not the manifest of a prepared data set \(no 'format'\)"):
        check_folder(tmp_path / "made")


def test_pixels_of_cifar_are_rows_of_red_then_green_then_blue():
    from sosr_timm.data.prepare.cifar import HUNDRED, PIXELS, decode

    content = bytes([3, 42]) + np.arange(PIXELS, dtype=np.int64).astype(np.uint8).tobytes()
    images, labels = decode(content, HUNDRED, 100, "x")
    assert labels.tolist() == [42] and images.shape == (1, 32, 32, 3)
    for row, column, channel in ((0, 0, 0), (0, 5, 0), (3, 1, 1), (31, 31, 2)):
        assert images[0, row, column, channel] == (channel * 1024 + row * 32 + column) % 256

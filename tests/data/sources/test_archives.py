"""Class directories in a .zip or .tar file are the data set that they are when unpacked."""

import io
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.errors import UserError
from tests.data.images import class_folders, picture

CLASSES = ("10", "9", "Emu")


def pack(folder, path, top=""):
    """An archive of a directory, with what macOS and version control add to one."""
    (folder / ".DS_Store").write_bytes(b"junk")
    (folder / "README.md").write_text("beside the images")
    files = {
        f"{top}{file.relative_to(folder)}": file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()
    }
    files[f"__MACOSX/{top}._image.png"] = b"junk"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return str(path)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def refusal(root, split="train", **keywords):
    with pytest.raises(UserError) as caught:
        open_source("", str(root), split, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def same(source, other):
    assert source.info == other.info and len(source) == len(other)
    assert source.read_labels().tolist() == other.read_labels().tolist()
    for index in range(len(source)):
        assert source.key(index) == other.key(index)
        assert (
            np.array_equal(source.load(index)[0], other.load(index)[0])
            and source.load(index)[1] == other.load(index)[1]
        )


@pytest.mark.parametrize("top", ["", "./", "shapes/", "data/shapes/"])
@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_an_archive_with_splits_is_the_directory_that_it_was(tmp_path, ending, top):
    folder = class_folders(tmp_path / "files", CLASSES)
    root = pack(folder, tmp_path / f"shapes{ending}", top)
    for split in ("train", "validation"):
        same(open_source("", root, split), open_source("", str(folder), split))
    assert refusal(root, "test").endswith(f"shapes{ending} has no split 'test' (test); it has train, val")


@pytest.mark.parametrize("top", ["", "shapes/"])
def test_a_zip_of_class_directories_is_one_split(tmp_path, top):
    folder = class_folders(tmp_path / "files", CLASSES) / "train"
    root = pack(folder, tmp_path / "shapes.zip", top)
    same(open_source("", root, "train"), open_source("", str(folder), "train"))


def test_an_archive_for_each_split(tmp_path):
    folder = class_folders(tmp_path / "files", CLASSES)
    for split in ("train", "val"):
        pack(folder / split, tmp_path / f"{split}.zip")
    for split in ("train", "validation"):
        same(open_source("", str(tmp_path), split), open_source("", str(folder), split))
    assert refusal(tmp_path, "test").endswith("has no split 'test' (test); it has files, train.zip, val.zip")


def test_a_class_map_and_file_endings(tmp_path):
    folder = class_folders(tmp_path / "files", CLASSES)
    picture(99).save(folder / "train" / "9" / "more.bmp")
    root = pack(folder, tmp_path / "shapes.zip")
    (tmp_path / "map.txt").write_text("Emu\nunseen\n9\n")
    keywords = {"class_map": str(tmp_path / "map.txt")}
    same(open_source("", root, "train", **keywords), open_source("", str(folder), "train", **keywords))
    assert len(open_source("", root, "train", reading=ReaderOptions(".bmp"))) == 1
    (tmp_path / "map.txt").write_text("horse\n")
    assert "names none of its classes" in refusal(root, **keywords)


def test_images_without_a_class_directory(tmp_path):
    (tmp_path / "files" / "train").mkdir(parents=True)
    picture().save(tmp_path / "files" / "train" / "a.png")
    root = pack(tmp_path / "files", tmp_path / "shapes.zip")
    assert refusal(root).endswith("train: image a.png is in no class directory (CLASS/a.png)")
    shutil.rmtree(tmp_path / "files" / "train")
    (tmp_path / "files" / "notes.txt").write_text("nothing")
    assert refusal(pack(tmp_path / "files", tmp_path / "notes.zip")).endswith(
        "notes.zip holds no image (.png, .jpg, .jpeg)"
    )


class Pixels(Dataset):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return np.array(self.source.load(index)[0])


@pytest.mark.parametrize("ending", [".zip", ".tar"])
def test_each_process_opens_the_archive_itself(tmp_path, ending):
    source = open_source("", pack(class_folders(tmp_path / "files", each=20), tmp_path / f"shapes{ending}"), "train")
    expected = [source.load(index)[0] for index in range(len(source))]
    found = list(DataLoader(Pixels(source), batch_size=None, num_workers=2, multiprocessing_context="fork"))
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
    copy = pickle.loads(pickle.dumps(source))  # as a process that is spawned gets it
    assert np.array_equal(copy.load(3)[0], expected[3])


def test_damaged_archives_and_images_in_them(tmp_path):
    path = tmp_path / "shapes.zip"
    path.write_bytes(b"not an archive" * 100)
    assert refusal(path) == f"data directory {path}: File is not a zip file"
    root = pack(class_folders(tmp_path / "files"), path)
    source = open_source("", root, "train")
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("train/cat/0.png").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 60 : offset + 90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"in shapes\.zip: "):
        source.load(0)
    tar = tmp_path / "shapes.tar"
    source = open_source("", pack(tmp_path / "files", tar), "train")
    tar.write_bytes(tar.read_bytes()[:600])
    with pytest.raises(OSError, match=r"in shapes\.tar: train/cat/0\.png ends after \d+ of \d+ bytes"):
        source.load(0)


def test_files_that_cannot_be_read_image_by_image_name_the_command_that_helps(tmp_path):
    for ending in (".tar.gz", ".tgz"):
        path = tmp_path / f"shapes{ending}"
        path.write_bytes(b"")
        assert refusal(path).endswith(f"mkdir shapes && tar -xf {path} -C shapes")
    (tmp_path / "shapes.7z").write_bytes(b"")
    assert "neither an archive nor a table" in refusal(tmp_path / "shapes.7z")


def test_an_encrypted_archive(tmp_path):
    path = tmp_path / "shapes.zip"
    pack(class_folders(tmp_path / "files"), path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    content[start + 8] |= 1  # flag of the first entry of the list of files
    path.write_bytes(content)
    assert refusal(path) == f"{path} is encrypted; unpack it and name the directory"

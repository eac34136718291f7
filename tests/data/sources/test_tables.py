"""Tables of image paths and labels."""

import numpy as np
import pytest

from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.errors import UserError
from tests.data.images import class_folders, picture

ROWS = [("train/cat/0.png", "10"), ("train/dog/1.png", "9"), ("./train/dog/2.png", "Emu"), ("train/cat/1.png", "9")]


@pytest.fixture
def images(tmp_path):
    return class_folders(tmp_path)


def write(path, rows, columns=("path", "label"), delimiter=",", start=""):
    lines = [columns, *rows]
    path.write_text(start + "".join(f"{delimiter.join(line)}\n" for line in lines), encoding="utf-8")
    return str(path)


def write_parquet(path, columns):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return str(path)


def refusal(root, split="train", **keywords):
    with pytest.raises(UserError) as caught:
        open_source("", str(root), split, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def check(source, images):
    assert source.info.class_names == ("9", "10", "Emu") and source.info.num_classes == 3
    assert source.read_labels().tolist() == [1, 0, 2, 0] and source.read_labels().dtype == np.int64
    image, label = source.load(2)
    assert label == 2 and np.array_equal(image, picture(6))
    assert source.name(2) == str(images / "train/dog/2.png") and source.key(2) == "train/dog/2.png"


@pytest.mark.parametrize(("delimiter", "ending"), [(",", "csv"), (";", "csv"), ("\t", "tsv")])
def test_a_text_table(images, delimiter, ending):
    check(open_source("", write(images / f"list.{ending}", ROWS, delimiter=delimiter), "train"), images)


def test_a_table_as_spreadsheets_write_it(images):
    rows = [(f'"{path}"', label) for path, label in ROWS]
    root = write(images / "list.CSV", [*rows, ()], start="\ufeff")
    check(open_source("", root, "train"), images)


def test_a_parquet_table(images):
    paths, labels = (list(column) for column in zip(*ROWS, strict=True))
    check(open_source("", write_parquet(images / "list.parquet", {"path": paths, "label": labels}), "train"), images)


def test_numbers_as_labels_keep_their_order(images):
    root = write_parquet(images / "list.parquet", {"path": [path for path, _ in ROWS], "label": [10, 9, 0, 9]})
    source = open_source("", root, "train")
    assert source.info.class_names == ("0", "9", "10") and source.read_labels().tolist() == [2, 1, 0, 1]


def test_other_columns_and_absolute_paths(images):
    rows = [("x", str(images / path), label) for path, label in ROWS]
    root = write(images / "list.csv", rows, ("id", "photo", "kind"))
    source = open_source("", root, "train", reading=ReaderOptions("photo", "kind"))
    assert source.read_labels().tolist() == [1, 0, 2, 0] and source.name(0) == str(images / "train/cat/0.png")
    assert refusal(root).startswith(f"{root} has no column 'path' (it has id, photo, kind); --input-key names")
    assert "has no column 'kinds' (it has id, photo, kind): did you mean 'kind'?" in refusal(
        root, reading=ReaderOptions("photo", "kinds")
    )


def test_a_column_of_splits(images):
    rows = [(*row, split) for row, split in zip(ROWS, ("train", "train", "val", "train"), strict=True)]
    root = write(images / "list.csv", rows, ("path", "label", "split"))
    training, evaluation = open_source("", root, "train"), open_source("", root, "validation")
    assert training.info.class_names == evaluation.info.class_names == ("9", "10", "Emu"), "of all splits"
    assert training.read_labels().tolist() == [1, 0, 0] and evaluation.read_labels().tolist() == [2]
    assert refusal(root, "test") == f"{root} has no split 'test' (test); it has train, val"


def test_a_table_for_each_split(images):
    write(images / "tables.csv", ROWS)
    (images / "lists").mkdir()
    for split in ("train", "valid"):
        write(images / "lists" / f"{split}.csv", [(f"../{split[:3].replace('tra', 'train')}/cat/0.png", "cat")])
    assert open_source("", str(images / "lists"), "train").name(0).endswith("../train/cat/0.png")
    assert open_source("", str(images / "lists"), "validation").name(0).endswith("../val/cat/0.png")


def test_a_class_map_numbers_and_selects(images):
    (images / "map.txt").write_text("Emu\nunseen\n9\n")
    source = open_source("", write(images / "list.csv", ROWS), "train", class_map="map.txt")
    assert source.info.class_names == ("Emu", "unseen", "9") and source.read_labels().tolist() == [2, 0, 2]
    (images / "map.txt").write_text("horse\n")
    assert "names none of its labels" in refusal(images / "list.csv", class_map="map.txt")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a.png", "cat"), ("b.png", "cat")], "2 of 2 images do not exist, the first is {}/a.png (line 2)"),
        ([("train/cat/0.png", "cat"), ("./train//cat/0.png", "dog")], ", line 3: train/cat/0.png is already in line 2"),
        ([("train/cat/0.png", "")], ", line 2: the label is empty"),
        ([("", "cat")], ", line 2: the path is empty"),
        ([("train/cat/0.png", "cat", "more")], ", line 2: 3 values for 2 columns"),
        ([('"train/cat/0.png', "cat")], " cannot be read as a table (unexpected end of data)"),
        ([], " has no rows"),
    ],
)
def test_faulty_tables(images, rows, said):
    assert said.format(images) in refusal(write(images / "list.csv", rows))


def test_tables_that_are_none(images):
    (images / "list.csv").write_bytes(b"")
    assert refusal(images / "list.csv") == f"{images / 'list.csv'} is empty"
    (images / "list.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    assert "cannot be read as a table ('utf-8' codec" in refusal(images / "list.csv")
    pytest.importorskip("pyarrow")
    (images / "list.parquet").write_bytes(b"no parquet")
    assert "list.parquet cannot be read as a table" in refusal(images / "list.parquet")


def test_a_parquet_file_of_images_names_the_way_to_open_it(images):
    root = write_parquet(images / "list.parquet", {"path": [{"bytes": b"", "path": ""}], "label": ["cat"]})
    assert f"column 'path' holds images, not their paths; open it with --dataset hfds/{images}" in refusal(root)
    root = write_parquet(images / "list.parquet", {"path": ["train/cat/0.png"], "label": [None]})
    assert "row 1: the label is empty" in refusal(root)


def test_a_directory_of_images_and_a_table_names_the_table(tmp_path):
    picture().save(tmp_path / "0.png")
    root = write(tmp_path / "labels.csv", [("0.png", "cat")])
    assert refusal(tmp_path).endswith(f", or name the table that labels them ({root})")

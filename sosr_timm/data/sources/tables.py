"""Tables of image paths and labels: .csv, .tsv and .parquet files."""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sosr_timm.data.sources.class_map import compare_classes, read_class_map
from sosr_timm.data.sources.names import match_split, no_such_split, sort_classes
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.source import ImageSource, SourceInfo
from sosr_timm.errors import UserError, one_line
from sosr_timm.extras import import_extra
from sosr_timm.registry import close_names

PATH, LABEL, SPLIT = "path", "label", "split"  # names of the columns; those of the first two can be chosen


@dataclass(frozen=True)
class Row:
    """One image of a table.

    Attributes:
        place: line or row, for messages.
        path: as the table has it, with slashes and without `./`.
        label: as text.
        split: name of its split; None where the table has no such column.
    """

    place: str
    path: str
    label: str
    split: str | None


class TableSource(ImageSource):
    """The images that a table lists.

    Args:
        folder: that relative paths start from.
        rows: of the images.
        labels: (N,) int64.
        info: about the data set.
    """

    def __init__(self, folder: Path, rows: list[Row], labels: np.ndarray, info: SourceInfo):
        self.folder, self.labels, self.info = folder, labels, info
        self.paths = [row.path for row in rows]

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> tuple[Image.Image, int]:
        with Image.open(self.folder / self.paths[index]) as image:
            image.load()
        return image, int(self.labels[index])

    def read_labels(self) -> np.ndarray:
        return self.labels

    def name(self, index: int) -> str:
        return str(self.folder / self.paths[index])

    def key(self, index: int) -> str:
        return self.paths[index]


def open_table(path: Path, split: str, class_map: str, reading: ReaderOptions) -> TableSource:
    """The images of one split of a table.

    Labels are text; their distinct values in natural order are the classes, over all splits of the table.

    Args:
        path: of the table; relative paths of images start from its directory.
        split: name of a split; a table without a column `split` has all of its images in each.
        class_map: text file of class names in the order of their numbers; rows of other classes are left out.
        reading: `input_key` and `target_key` name the columns of path and label.

    Raises:
        UserError: a column, label or file is missing, or an image is listed twice.
    """
    rows = list(_read(path, reading.input_key or PATH, reading.target_key or LABEL))
    if not rows:
        raise UserError(f"{path} has no rows")
    _check_rows(path, rows)
    numbers = read_class_map(class_map, path.parent) if class_map else None
    if numbers is None:
        numbers = {name: number for number, name in enumerate(sort_classes(row.label for row in rows))}
    if rows[0].split is not None:
        splits = {row.split for row in rows}
        found = match_split(split, splits)
        if found is None:
            raise no_such_split(str(path), split, splits)
        rows = [row for row in rows if row.split == found]
    left_out = [row.label for row in rows if row.label not in numbers]
    rows = [row for row in rows if row.label in numbers]
    if not rows:
        raise UserError(f"{path}: --class-map {class_map} names none of its labels")
    missing = [row for row in rows if not os.path.isfile(path.parent / row.path)]
    if missing:
        first = missing[0]
        raise UserError(
            f"{path}: {len(missing):,} of {len(rows):,} images do not exist, the first is {path.parent / first.path} "
            f"({first.place}); relative paths start from the directory of the table"
        )
    names = tuple(sorted(numbers, key=numbers.get))
    labels = np.array([numbers[row.label] for row in rows], dtype=np.int64)
    source = TableSource(path.parent, rows, labels, SourceInfo(len(names), class_names=names))
    return compare_classes(source, class_map, numbers, left_out) if class_map else source


def _check_rows(path: Path, rows: list[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        for value, what in ((row.path, "path"), (row.label, "label"), (row.split, "split")):
            if value == "":
                raise UserError(f"{path}, {row.place}: the {what} is empty")
        first = seen.setdefault(row.path, row)
        if first is not row:
            raise UserError(f"{path}, {row.place}: {row.path} is already in {first.place}; list each image once")


def _read(path: Path, path_column: str, label_column: str) -> Iterator[Row]:
    cells = _parquet(path, (path_column, label_column)) if path.suffix.lower() == ".parquet" else _text(path)
    columns = next(cells, ("", []))[1]
    if not columns:
        raise UserError(f"{path} is empty")
    for name in (path_column, label_column):
        if name not in columns:
            near = close_names(name, columns)
            raise UserError(
                f"{path} has no column '{name}' (it has {', '.join(columns)})"
                f"{': ' + near if near.startswith('did') else ''}; --input-key names the column of the paths, "
                "--target-key that of the labels"
            )
    image, label = columns.index(path_column), columns.index(label_column)
    split = columns.index(SPLIT) if SPLIT in columns else None
    for place, row in cells:
        if len(row) != len(columns):
            raise UserError(f"{path}, {place}: {len(row)} values for {len(columns)} columns")
        name = row[image].replace("\\", "/")
        yield Row(place, name and posixpath.normpath(name), row[label], None if split is None else row[split])


def _text(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The rows of a text table, the names of its columns first, each with the line that it is in."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if row:
                    yield f"line {reader.line_num}", [value.strip() for value in row]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({one_line(error)})") from None


def _parquet(path: Path, names: tuple[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The rows of a Parquet file like those of a text table."""
    parquet = import_extra("pyarrow.parquet", "hfds", f"the table {path}")
    import pyarrow as pa

    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
        wanted = [name for name in (*names, SPLIT) if name in schema.names]
        for name in names:
            kind = schema.field(name).type if name in wanted else None
            if kind is not None and (pa.types.is_struct(kind) or pa.types.is_binary(kind)):
                raise UserError(
                    f"{path}: column '{name}' holds images, not their paths; open it with --dataset hfds/{path.parent}"
                )
        columns = {name: file.read([name]).column(name).to_pylist() for name in wanted}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read as a table ({one_line(error)})") from None
    yield "the names of the columns", list(schema.names)
    others = [None] * file.metadata.num_rows
    every = [columns.get(name, others) for name in schema.names]
    for number, values in enumerate(zip(*every, strict=True), start=1):
        yield f"row {number}", [_as_text(value) for value in values]


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)

"""Images without labels, from files, directories, archives and lists."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from timm.utils import natural_key

from sosr_timm.data.sources.archives import Archive, read_archive
from sosr_timm.data.sources.class_folders import known_endings
from sosr_timm.data.sources.names import TABLES
from sosr_timm.data.sources.source import ImageSource
from sosr_timm.errors import UserError, one_line
from sosr_timm.registry import close_names

STANDARD_INPUT = "-"
LISTS, ARCHIVES = (".txt",), (".tar", ".zip")
NO_LABEL = -1


@dataclass(frozen=True)
class Entry:
    """One image.

    Attributes:
        name: path of the file, or of the archive and the file in it.
        archive: that holds it, or None.
        member: its name there.
    """

    name: str
    archive: Archive | None = None
    member: str = ""


class UnlabelledImages(ImageSource):
    """Images by index; every label is NO_LABEL."""

    def __init__(self, entries: list[Entry]):
        self.entries = entries

    def __len__(self) -> int:
        return len(self.entries)

    def load(self, index: int) -> tuple[Image.Image, int]:
        entry = self.entries[index]
        file = entry.name if entry.archive is None else io.BytesIO(entry.archive.read(entry.member))
        with Image.open(file) as image:
            image.load()
        return image, NO_LABEL

    def name(self, index: int) -> str:
        return self.entries[index].name


def find_images(paths: Iterable[str], endings: str | None = None) -> UnlabelledImages:
    """The images at some paths, in their order, each once.

    Directories and archives are searched completely, in natural order, without hidden files; of them and only of them
    the file endings matter. The paths in a text file start from its directory, those on standard input from the current
    one.

    Args:
        paths: of images, directories, archives (.zip, .tar) and text files with a path a line; "-" for such a list on
            standard input.
        endings: file endings that count as images (".png;.jpg"); those that timm takes for images where None.

    Raises:
        UserError: a path that does not exist, or no image at all. Files that lists name are looked at later.
    """
    known = known_endings(endings)
    entries: list[Entry] = []
    for path in paths:
        entries += _entries(path, known, endings)
    entries = list({entry.name: entry for entry in entries}.values())
    if not entries:
        raise UserError("no images: name images, directories, archives (.zip, .tar) or lists of paths (.txt, or -)")
    return UnlabelledImages(entries)


def _entries(text: str, known: tuple[str, ...], endings: str | None) -> list[Entry]:
    path = Path(text)
    ending = path.suffix.lower()
    if text == STANDARD_INPUT:
        return [Entry(line) for line in _lines(sys.stdin.read())]
    if path.is_dir():
        found = [Entry(name) for name in _walk(text, known)]
        if not found:
            raise UserError(f"{text} holds no image ({', '.join(known)})")
        return found
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = close_names(path.name, beside)
        raise UserError(f"{text} does not exist{': ' + near if near.startswith('did') else ''}")
    if ending in ARCHIVES:
        layout = read_archive(path, endings)
        names = sorted(layout.images.values(), key=lambda name: (natural_key(name), name))
        return [Entry(f"{text}/{name}", layout.archive, name) for name in names]
    if ending in LISTS:
        try:
            lines = _lines(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise UserError(f"{text} cannot be read as a list of paths ({one_line(error)})") from None
        return [Entry(os.path.join(path.parent, line)) for line in lines]
    if ending in TABLES:
        raise UserError(f"{text}: a list of images is a text file (.txt) with a path a line, and no table")
    return [Entry(text)]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _walk(folder: str, known: tuple[str, ...]) -> list[str]:
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, name) for name in files if name.lower().endswith(known) and name[0] != "."]
    return sorted(found, key=lambda name: (natural_key(name), name))

"""Tar shards for the tests of data."""

import io
import json
import tarfile
from pathlib import Path

from tests.data.images import picture


def encoded(seed=0, form="PNG", **arguments) -> bytes:
    buffer = io.BytesIO()
    picture(seed, **arguments).save(buffer, form)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar file of members in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1_700_000_000
            file.addfile(member, io.BytesIO(content))
    return path


def samples(count: int, first: int = 0, classes: int = 3, label="cls") -> list[tuple[str, bytes]]:
    """Members of `count` samples as webdataset writes them; sample i has picture i and class i modulo `classes`."""
    members = []
    for number in range(first, first + count):
        key, target = f"{number:06d}", number % classes
        members.append((f"{key}.png", encoded(number)))
        content = str(target) if label == "cls" else json.dumps({"label": target, "id": number})
        members.append((f"{key}.{label}", content.encode()))
    return members


def write_shards(folder: Path, shards=3, each=4, stem="set", classes=3) -> list[Path]:
    """folder/set-000.tar, set-001.tar, ..."""
    return [
        write_tar(folder / f"{stem}-{number:03d}.tar", samples(each, number * each, classes))
        for number in range(shards)
    ]


def folders_as_tar(folder: Path, path: Path) -> Path:
    """The images of class directories in a shard, in the order in which timm reads the directories."""
    names = sorted(other.name for other in folder.iterdir())
    members = []
    for label, name in enumerate(names):
        for file in sorted((folder / name).iterdir()):
            key = f"{name}/{file.stem}"
            members += [(f"{key}{file.suffix}", file.read_bytes()), (f"{key}.cls", str(label).encode())]
    return write_tar(path, members)

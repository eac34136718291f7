"""Which tar shards make a split: webdataset's brace patterns, timm's info files, and what the files are called."""

from __future__ import annotations

import glob
import itertools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from timm.utils import natural_key

from sosr_timm.data.sources.names import EVALUATION_SPLITS, TRAIN_SPLITS, match_split, no_such_split, synonyms
from sosr_timm.errors import UserError, one_line

MOST_SHARDS = 1_000_000
INFO_FILES = ("_info.json", "info.json")  # where timm looks for the shards of each split
REMOTE = re.compile(r"^(?:[a-z][a-z0-9+.-]*://|pipe:)", re.IGNORECASE)
GROUP = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"^(\d+)\.\.(\d+)$")


def expand_braces(pattern: str) -> list[str]:
    """The names that a pattern of webdataset means, in its order: `a-{00..12}.tar`, `{train,extra}-{0..3}.tar`.

    Raises:
        UserError: braces that are not closed or empty, a range that falls, or more names than `MOST_SHARDS`.
    """
    words: list[Sequence[str]] = []
    position = 0
    for group in GROUP.finditer(pattern):
        words += [(pattern[position : group.start()],), _choices(pattern, group[1])]
        position = group.end()
    words.append((pattern[position:],))
    if any(brace in text for word in words for text in word[:1] for brace in "{}"):
        raise UserError(f"shards '{pattern}': the braces do not match; write a-{{000..123}}.tar or {{a,b}}.tar")
    count = math.prod(len(word) for word in words)
    if count > MOST_SHARDS:
        raise UserError(f"shards '{pattern}': {count:,} names; at most {MOST_SHARDS:,}")
    return ["".join(parts) for parts in itertools.product(*words)]


def _choices(pattern: str, inside: str) -> Sequence[str]:
    found = RANGE.match(inside)
    if found:
        first, last = int(found[1]), int(found[2])
        if last < first:
            raise UserError(f"shards '{pattern}': the range {{{inside}}} falls")
        if last - first >= MOST_SHARDS:
            raise UserError(f"shards '{pattern}': {last - first + 1:,} names; at most {MOST_SHARDS:,}")
        padded = len(found[1]) if len(found[1]) == len(found[2]) or found[1].startswith("0") else 0
        return [f"{number:0{padded}d}" for number in range(first, last + 1)]
    if "," not in inside:
        raise UserError(f"shards '{pattern}': {{{inside}}} is neither a range (000..123) nor a list (a,b)")
    return inside.split(",")


def expand_shards(given: str) -> list[Path]:
    """The shards that a path means: a directory of them, a .tar file, or patterns joined by `::`.

    Raises:
        UserError: none there, one that is missing, or a path that is not local.
    """
    if REMOTE.match(given):
        raise UserError(
            f"shards '{given}': samples are read by position from local or mounted files; mount the bucket or copy the "
            "shards, and name their directory"
        )
    if Path(given).is_dir():
        found = _tars_in(Path(given))
        if not found:
            raise UserError(f"{given} holds no .tar file{_hint_of_compressed(Path(given))}")
        return found
    shards: list[Path] = []
    for pattern in given.split("::"):
        for name in expand_braces(pattern):
            if any(sign in name for sign in "*?[") and not Path(name).exists():
                matching = sorted(map(Path, glob.glob(name)), key=_by_name)
                if not matching:
                    raise UserError(f"shards '{name}': no file has such a name")
                shards += matching
            else:
                shards.append(Path(name))
    missing = [path for path in shards if not path.is_file()]
    if missing:
        more = f" ({len(missing):,} of {len(shards):,} shards are missing)" if len(shards) > 1 else ""
        raise UserError(f"shard {missing[0]} does not exist{more}")
    other = next((path for path in shards if path.suffix.lower() != ".tar"), None)
    if other is not None:
        raise UserError(f"shard {other} is no .tar file; compressed shards cannot be read by position: unpack it first")
    return shards


def find_shards(root: str | None, split: str) -> list[Path]:
    """The shards of a split.

    Args:
        root: directory of the shards or of directories of them for each split; or a pattern, a .tar file.
        split: name of a split, one of its synonyms, or a pattern below `root` as timm takes it.

    Raises:
        UserError: no root, no such split, or shards that are missing.
    """
    if not root:
        raise UserError("--dataset wds/ needs the directory of the shards, or a pattern of them: --data-dir SHARDS")
    base = Path(root)
    if REMOTE.match(root) or not base.is_dir():
        if not REMOTE.match(root) and not any(sign in root for sign in "{*?[:") and not base.exists():
            raise UserError(f"data directory {root} does not exist")
        return expand_shards(root)
    if is_pattern(split):
        names = split.partition("|")[0]  # timm: the number of samples follows, which the index knows
        return expand_shards("::".join(str(base / name) for name in names.split("::")))
    listed = _listed(base)
    if listed:
        name = match_split(split, listed)
        if name is None:
            raise no_such_split(f"data directory {root}", split, listed)
        return expand_shards("::".join(str(base / file) for file in listed[name]))
    for name in synonyms(split):
        if (base / name).is_dir() and _tars_in(base / name):
            return expand_shards(str(base / name))
    return _by_file_names(base, split)


def is_pattern(split: str) -> bool:
    """Whether a split is given as timm's pattern of shards, not by its name."""
    return any(sign in split for sign in "{*?[") or ".tar" in split or "::" in split


def split_words(name: str, split: str) -> frozenset[str]:
    """The names of splits, `split` among them, that are words of a shard's file name."""
    words = set(re.split(r"[-_.]", Path(name).stem.lower()))
    return frozenset(words & {*TRAIN_SPLITS, *EVALUATION_SPLITS, split})


def _by_file_names(base: Path, split: str) -> list[Path]:
    """The shards in a directory whose names hold a split's name; all of them where no name holds one."""
    tars = _tars_in(base)
    words = {path: split_words(path.name, split) for path in tars}
    known = {*TRAIN_SPLITS, *EVALUATION_SPLITS, split}
    there = {name for found in words.values() for name in found}
    folders = [path.name for path in base.iterdir() if path.is_dir() and path.name in known and _tars_in(path)]
    for name in synonyms(split):
        named = [path for path in tars if name in words[path]]
        if named:
            return named
    if there or folders:
        raise no_such_split(f"data directory {base}", split, {*there, *folders})
    if not tars:
        raise UserError(f"data directory {base} holds no .tar file{_hint_of_compressed(base)}")
    return tars


def _listed(base: Path) -> dict[str, list[str]]:
    """File names of each split from timm's info file; nothing without one."""
    path = next((base / name for name in INFO_FILES if (base / name).is_file()), None)
    if path is None:
        return {}
    try:
        splits = json.loads(path.read_text(encoding="utf-8")).get("splits", {})
        return {name: [str(file) for file in about["filenames"]] for name, about in splits.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no list of the shards of each split ({one_line(error)})") from None


def _tars_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.tar") if path.is_file() and path.name[0] != "."), key=_by_name)


def _hint_of_compressed(folder: Path) -> str:
    packed = next((path.name for path in folder.glob("*.tar.*")), None)
    return f" (compressed shards such as {packed} cannot be read by position: unpack them first)" if packed else ""


def _by_name(path: Path) -> tuple:
    return natural_key(path.name), path.name

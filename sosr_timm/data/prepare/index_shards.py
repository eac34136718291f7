"""`sosr-data index`: the index of tar shards, made once, shard by shard, and kept beside them."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.pool import Pool
from pathlib import Path

from timm.utils import natural_key
from tqdm import tqdm

from sosr_timm.data.sources.shard_index import FILE_NAME, Part, Shard, ShardIndex, load_index, write_index, write_part
from sosr_timm.data.sources.shard_names import expand_shards
from sosr_timm.data.sources.shard_samples import IMAGE_KEYS, read_samples
from sosr_timm.data.sources.shards import check_complete, open_shards
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.files import room
from sosr_timm.text import counted

UNFINISHED = ".sosr-index.unfinished"


def index_shards(
    given: Sequence[str],
    input_key: str | None = None,
    target_key: str | None = None,
    checksums: bool = False,
    workers: int = 1,
) -> list[str]:
    """Index shards; those that are indexed already and did not change are not read again.

    Args:
        given: directories of shards, .tar files, or patterns of them; below a directory without shards those in its
            directories count.
        input_key: endings of the images ("jpg;png").
        target_key: ending of the labels ("cls", "json/label").
        checksums: also keep the CRC-32 of each image, for which every byte is read.
        workers: processes that read shards.

    Returns:
        a line for each directory.

    Raises:
        UserError: a shard that is damaged or holds what is no sample, or a directory that cannot be written.
    """
    if input_key is not None:
        for ending in input_key.split(";"):
            if not ending or ending.startswith(".") or ending != ending.lower():
                raise UserError(f"--input-key {input_key}: endings without a dot, such as 'jpg;png', not '{ending}'")
    folders: dict[Path, list[Path]] = {}
    for one in given:
        for path in _shards_below(one):
            folders.setdefault(path.parent, []).append(path)
    return [
        _index_folder(folder, list(dict.fromkeys(paths)), input_key or IMAGE_KEYS, target_key, checksums, workers)
        for folder, paths in folders.items()
    ]


def check_shards(given: str) -> str:
    """Compare each image of shards with its CRC-32.

    Returns:
        a line that says that all are as they were.

    Raises:
        UserError: the first image that differs, a shard that changed or is missing, or an index without checksums.
    """
    paths = _shards_below(given)
    images = 0
    for path in tqdm(paths, desc=given, unit="shard", leave=False, disable=None):
        source = open_shards(str(path), "train")
        if not source.has_checksums():
            raise UserError(
                f"the index of {path} has no checksums; make it with: sosr-data index {path.parent} --checksums"
            )
        for index in range(len(source)):
            try:
                source.content(index)
            except OSError as error:
                raise UserError(f"{source.name(index)}: {one_line(error)}") from None
        images += len(source)
    if Path(given).is_dir():
        for folder in dict.fromkeys(path.parent for path in paths):
            check_complete(folder, load_index(folder / FILE_NAME).numbers)
    return f"{given}: {counted(images, 'image')} in {counted(len(paths), 'shard')} are as they were indexed"


def _shards_below(given: str) -> list[Path]:
    folder = Path(given)
    if folder.is_dir() and not any(folder.glob("*.tar")):
        below = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(path.glob("*.tar"))]
        if below:
            return [shard for path in below for shard in expand_shards(str(path))]
    return expand_shards(given)


def _index_folder(
    folder: Path, paths: list[Path], input_key: str, target_key: str | None, checksums: bool, workers: int
) -> str:
    known = _known(folder, input_key, target_key, checksums)
    wanted = {path.name: path for path in paths}
    # Shards that were indexed before and are still the same stay in the index.
    kept = {name: folder / name for name in known if (folder / name).is_file()}
    every = sorted({**kept, **wanted}.values(), key=lambda path: (natural_key(path.name), path.name))
    parts = {path.name: part for path in every if (part := _unchanged(path, known.get(path.name)))}
    partial = folder / UNFINISHED
    missing = [path for path in every if path.name not in parts and path.name in wanted]
    try:
        partial.mkdir(exist_ok=True)
        tasks = [(path, partial / f"{path.name}.safetensors", input_key, target_key, checksums) for path in missing]
        size = sum(path.stat().st_size for path in missing)
        with tqdm(total=size, desc=str(folder), unit="B", unit_scale=True, leave=False, disable=None) as bar:
            for path, file in _run(tasks, workers):
                parts[path.name] = Part(ShardIndex(file, mapped=False), 0)
                bar.update(path.stat().st_size)
        ordered = [parts[path.name] for path in every if path.name in parts]
        write_index(folder / FILE_NAME, ordered)
    except OSError as error:
        raise UserError(
            f"{folder / FILE_NAME} cannot be written ({reason_of(error)}; {room(folder)}); the same command continues. "
            "Where the shards are read-only, index a directory of symbolic links to them"
        ) from None
    shutil.rmtree(partial, ignore_errors=True)
    samples = sum(part.shard.samples for part in ordered)
    read = f", {len(missing):,} of them read now" if len(missing) < len(ordered) else ""
    return f"{folder / FILE_NAME}: {counted(samples, 'sample')} in {counted(len(ordered), 'shard')}{read}"


def _known(folder: Path, input_key: str, target_key: str | None, checksums: bool) -> dict[str, Part]:
    """What an earlier index, or an interrupted run of this command, knows about shards of a directory."""
    known: dict[str, Part] = {}
    for file in (folder / FILE_NAME, *(folder / UNFINISHED).glob("*.safetensors")):
        with suppress(UserError):  # a damaged one is made again
            index = ShardIndex(file, mapped=file.name == FILE_NAME)
            same = (index.input_key, index.target_key) == (input_key, target_key)
            if same and (index.checksums or not checksums):
                known.update({shard.name: Part(index, number) for number, shard in enumerate(index.shards)})
    return known


def _unchanged(path: Path, part: Part | None) -> Part | None:
    stat = path.stat()
    same = part is not None and (part.shard.size, part.shard.modified) == (stat.st_size, stat.st_mtime_ns)
    return part if same else None


def _run(tasks: list[tuple], workers: int) -> Iterator[tuple[Path, Path]]:
    if workers < 2 or len(tasks) < 2:
        yield from map(_read_shard, tasks)
        return
    with processes(min(workers, len(tasks))) as pool:
        yield from pool.imap_unordered(_read_shard, tasks)


def processes(count: int) -> Pool:
    """Processes for shards; an interrupt reaches the main one alone."""
    # Forked ones do not import everything anew, which takes seconds.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method).Pool(count, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def _read_shard(task: tuple[Path, Path, str, str | None, bool]) -> tuple[Path, Path]:
    """Write the index of one shard."""
    path, file, input_key, target_key, checksums = task
    before = path.stat()
    found = read_samples(path, input_key, target_key, checksums)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UserError(f"shard {path} changed while it was read; run the command again when it is complete")
    shard = Shard(path.name, before.st_size, before.st_mtime_ns, len(found.names), found.digest, found.labels_digest)
    write_part(file, shard, found, input_key, target_key)
    return path, file

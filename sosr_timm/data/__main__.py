"""Prepare data sets and policies from what their authors publish, and check prepared sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sosr_timm.data.prepare.glyph_packages import listed_packages
from sosr_timm.data.prepare.index_shards import check_shards, index_shards
from sosr_timm.data.prepare.manifest import NAME as MANIFEST
from sosr_timm.data.prepare.manifest import check_folder
from sosr_timm.data.prepare.pack import Packing, pack
from sosr_timm.data.prepare.policy import extract_policy
from sosr_timm.data.prepare.preparations import PREPARATIONS, find_preparation
from sosr_timm.data.prepare.run import prepare
from sosr_timm.data.prepare.sources import how_to_get
from sosr_timm.data.prepare.spec import Preparation
from sosr_timm.errors import UserError

EXIT_USER_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Run a command line, by default that of this process; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        if getattr(given, "workers", 1) < 1:
            raise UserError(f"--workers {given.workers}: at least 1")
        if given.command == "prepare":
            preparation = find_preparation(given.name)
            source, destination = _places(preparation, given.source, given.destination)
            print(prepare(preparation, source, destination, given.allow_subset))
            return 0
        if given.command == "packages":
            print(" ".join(package.name for package in listed_packages()))
            return 0
        if given.command == "policy":
            print(extract_policy(Path(given.source), given.function, Path(given.destination)))
            return 0
        if given.command == "pack":
            how = Packing(given.max_side, given.quality, given.per_shard, given.shuffle)
            folder = Path(given.folder)
            ending = "packed" if given.max_side is None else str(given.max_side)
            destination = Path(given.destination or folder.with_name(f"{folder.resolve().name}-{ending}"))
            print(pack(folder, destination, how, given.workers))
            return 0
        if given.command == "index":
            keys = given.input_key, given.target_key
            for line in index_shards(given.shards, *keys, given.checksums, given.workers):
                print(line)
            return 0
        if _holds_shards(Path(given.folder)):
            print(check_shards(given.folder))
            return 0
        return _check(Path(given.folder))
    except UserError as error:
        print(f"sosr-data: error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("sosr-data: stopped; run the same command again to continue", file=sys.stderr)
        return 130


def _places(preparation: Preparation, source: str | None, destination: str | None) -> tuple[Path, Path]:
    """The two paths of a preparation, with its defaults where the command line has none.

    Raises:
        UserError: one is missing and has no default.
    """
    found = Path(source) if source else preparation.default_source
    target = Path(destination) if destination else preparation.default_destination and preparation.default_destination()
    if found is None or target is None:
        missing = "source and the destination" if found is None else "destination"
        raise UserError(f"{preparation.spec.name}: name the {missing}; {how_to_get(preparation.spec)}")
    return found, target


def _holds_shards(folder: Path) -> bool:
    """Whether a path is one of shards, or of a directory of them for each split, and not of a prepared data set."""
    prepared = folder.is_dir() and (folder / MANIFEST).is_file()
    return not prepared and (not folder.is_dir() or any(folder.glob("*.tar")) or any(folder.glob("*/*.tar")))


def _check(folder: Path) -> int:
    wrong = check_folder(folder)
    for line in wrong:
        print(line)
    if wrong:
        raise UserError(f"{folder}: {len(wrong):,} files differ from what was prepared, the first: {wrong[0]}")
    print(f"{folder}: every file is as it was prepared")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sosr-data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("prepare", help="make a checked directory from official archives")
    make.add_argument("name", help=f"of the data set: {', '.join(PREPARATIONS)}")
    make.add_argument(
        "source",
        nargs="?",
        help="an archive, the directory that holds the archives, or an unpacked copy; of glyphs, the root of a Debian "
        "system (default: /)",
    )
    make.add_argument(
        "destination",
        nargs="?",
        help="the directory to make, for --data-dir (default of glyphs: the one that --dataset glyphs opens)",
    )
    make.add_argument(
        "--allow-subset",
        action="store_true",
        help="take archives and counts that are not the official ones; the directory is marked as a part of the set",
    )
    commands.add_parser("packages", help="print the names of the Debian packages that glyphs is made from")
    policy = commands.add_parser("policy", help="make a policy file for --aa from Fast AutoAugment's archive.py")
    policy.add_argument("source", help="FastAutoAugment/archive.py of the authors' repository")
    policy.add_argument("function", help="in it: fa_reduced_cifar10 for CIFAR")
    policy.add_argument("destination", help="file to write, ending in .yaml")
    packed = commands.add_parser("pack", help="write class directories into indexed tar shards, smaller if asked for")
    packed.add_argument("folder", help="class directories, or a directory of them for each split")
    packed.add_argument(
        "destination", nargs="?", help="directory to make (FOLDER-packed, with --max-side 500 FOLDER-500)"
    )
    packed.add_argument("--max-side", type=int, help="make larger images this many pixels on their longer side")
    packed.add_argument("--quality", type=int, default=90, help="JPEG quality of images that become smaller (90)")
    packed.add_argument("--per-shard", type=int, default=4096, help="images of a shard (4096)")
    packed.add_argument("--shuffle", type=int, help="seed: write the images in random order, for --order shards")
    packed.add_argument("--workers", type=int, default=1, help="processes that pack (1)")
    index = commands.add_parser("index", help="index tar shards (webdataset), so that --dataset wds/ can read them")
    index.add_argument(
        "shards",
        nargs="+",
        help="directory of shards or of directories of them, .tar file, or pattern 'a-{000..123}.tar'",
    )
    index.add_argument("--input-key", help="endings of the images ('jpg;jpeg;png;webp')")
    index.add_argument(
        "--target-key", help="ending of the labels: 'cls', or 'json/FIELD'; cls, else json/label, where not given"
    )
    index.add_argument(
        "--checksums", action="store_true", help="keep the CRC-32 of each image, which is then compared at every load"
    )
    index.add_argument("--workers", type=int, default=1, help="processes that read shards (1)")
    look = commands.add_parser("check", help="compare every file of a prepared directory, or of shards, with its hash")
    look.add_argument("folder", help="that was prepared; or shards whose index has checksums")
    return parser


if __name__ == "__main__":
    sys.exit(main())

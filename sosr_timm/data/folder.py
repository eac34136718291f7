"""A folder of class folders, as ImageNet is laid out: checked before a run, with what to do where it is not so."""

from __future__ import annotations

from pathlib import Path

from sosr_timm.data.source import ImageSource, ReaderSource, SourceInfo
from sosr_timm.errors import UserError
from sosr_timm.registry import close_names

SPLIT_SYNONYMS = (("train", "training"), ("validation", "val", "valid", "eval", "evaluation", "test"))


def open_folder(root: str | None, split: str, class_map: str = "") -> ImageSource:
    """The images of one split below `root`: root/train/CLASS/*.jpg and root/val/CLASS/*.jpg (or `validation`).

    Raises:
        UserError: no folder, no such split, no class folders, an empty class folder.
    """
    if not root:
        raise UserError("no data: name a folder (train.py DATA or --data-dir) or a data set (--dataset digits)")
    base = Path(root)
    if not base.is_dir():
        near = close_names(base.name, [other.name for other in base.parent.iterdir()]) if base.parent.is_dir() else ""
        raise UserError(f"data folder {base} does not exist{': ' + near if near.startswith('did') else ''}")
    folder = _split_folder(base, split)
    _check_layout(folder)
    from timm.data import create_dataset

    try:
        reader = create_dataset(
            "", root=str(folder), split=split, search_split=False, class_map=class_map or None, input_img_mode=None
        ).reader
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(f"data folder {folder}: {error}".replace("\n", " ")) from None
    names = sorted(reader.class_to_idx, key=reader.class_to_idx.get)
    info = SourceInfo(num_classes=len(set(reader.class_to_idx.values())), class_names=tuple(names))
    return ReaderSource(reader, info, str(folder))


def _split_folder(base: Path, split: str) -> Path:
    names = next((group for group in SPLIT_SYNONYMS if split in group), (split,))
    for name in (split, *names):
        if (base / name).is_dir():
            return base / name
    others = sorted(path.name for path in base.iterdir() if path.is_dir())
    siblings = {name for group in SPLIT_SYNONYMS for name in group}
    if siblings & set(others):
        raise UserError(f"data folder {base} has no split '{split}' ({' or '.join(names)}); it has {', '.join(others)}")
    return base


def _check_layout(folder: Path) -> None:
    """Raise where timm's reader would fail late or silently leave something out."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    if not classes:
        files = [path for path in folder.iterdir() if path.is_file()]
        if not files:
            raise UserError(f"data folder {folder} is empty")
        raise UserError(
            f"data folder {folder} holds {len(files)} files and no class folders; move each image into the folder of "
            f"its class ({folder}/CLASS/{files[0].name})"
        )
    for path in classes:
        if not any(file.is_file() or file.is_dir() for file in path.iterdir()):
            raise UserError(
                f"class folder {path} is empty; remove it or fill it, else the classes would be numbered wrongly"
            )

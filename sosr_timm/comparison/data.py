"""The images of a comparison: opened once before anything starts, counted, and checked."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from sosr_timm.comparison.plan import SPLIT, Plan, name_of_directory
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import spread
from sosr_timm.errors import UserError
from sosr_timm.options.compare import CompareOptions
from sosr_timm.options.load import Loaded
from sosr_timm.setup.datasets import open_sources, reading
from sosr_timm.text import counted


class _Alone:
    """This process, as `open_sources` asks for it; no accelerator is started to count images."""

    count, is_main = 1, True

    def wait(self) -> None: ...

    def same_everywhere(self, text: str) -> list[int]:
        return []


def look_at_data(loaded: Loaded[CompareOptions], plan: Plan) -> dict[str, Any]:
    """Open the images once, check that they can be compared on, and say what they are.

    Returns:
        `name`, `classes`, `training_images`, `evaluation_images`, `test_images` where they are others, and `digest`, of
        the names and labels of all of them.

    Raises:
        UserError: they cannot be opened, a class has no image, or too few are held out.
    """
    options = loaded.options
    data = options.data
    if plan.select_on is not None:
        data = dataclasses.replace(data, val_fraction=plan.select_on, val_split=SPLIT)
    training, evaluation = open_sources(data, options.model, _Alone(), 0)  # type: ignore[arg-type]
    sources = {"training": training, "held-out" if plan.select_on is not None else "evaluation": evaluation}
    if plan.select_on is not None:
        root, how = data.data or data.data_dir, reading(data, options.model)
        test = open_source(data.dataset, root, plan.test_split, class_map=data.class_map, reading=how)
        sources["test"] = spread(test, data.val_num_samples)
    digest = hashlib.sha256()
    for part, source in sources.items():
        labels = source.read_labels()
        keys = "\n".join(source.key(index) for index in range(len(source)))
        digest.update(f"{part} {len(source)}\n{keys}\n".encode("utf-8", "surrogateescape"))
        digest.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
        check_classes(part, labels, source.info.num_classes, source.info.class_names)
    count = len(evaluation)
    most = max(one.seeds for one in plan.losses)
    if plan.select_on is not None and count < most:
        raise UserError(
            f"--select-on {plan.select_on:g} holds out {counted(count, 'image')}, fewer than there are seeds ({most}): "
            "hold out more, or take fewer seeds"
        )
    if count < 2:
        raise UserError(f"there is {counted(count, 'evaluation image')}: a temperature needs two halves")
    name = data.dataset or name_of_directory(data.data or data.data_dir)
    facts = {"name": name, "classes": training.info.num_classes, "training_images": len(training)}
    facts["evaluation_images"] = count
    if "test" in sources:
        facts["test_images"] = len(sources["test"])
    return facts | {"digest": digest.hexdigest()[:16]}


def check_classes(part: str, labels: np.ndarray, classes: int | None, names: tuple[str, ...] | None) -> None:
    """Raise where training or held-out images lack a class.

    Raises:
        UserError: names the classes.
    """
    if labels.ndim > 1:
        raise UserError("a comparison needs one class per image, not many labels")
    if part not in ("training", "held-out") or classes is None:
        return
    lacking = np.flatnonzero(np.bincount(labels, minlength=classes) == 0)
    if len(lacking):
        known = [str(names[index]) if names else str(index) for index in lacking[:5]]
        more = ", ..." if len(lacking) > 5 else ""
        noun = "class" if len(lacking) == 1 else "classes"
        raise UserError(f"no {part} images of {noun} {', '.join(known)}{more}: add images, or leave the class out")

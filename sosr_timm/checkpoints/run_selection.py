"""Which run to start or to resume, and whether what was asked for agrees with what was stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from sosr_timm.checkpoints.foreign import foreign_file
from sosr_timm.checkpoints.format import (
    MANIFEST,
    checkpoint_folders,
    latest_complete,
    progress_of,
    read_manifest_or_raise,
)
from sosr_timm.checkpoints.run_folder import RESULT, RunFolder, claim_folder, folder_name
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.fields import THIS_START, TRAINING, options_of
from sosr_timm.options.load import Loaded, build, check_values, plain
from sosr_timm.options.task import loss_text
from sosr_timm.options.train import TrainOptions

Options = TypeVar("Options")  # of a program that has the groups `data`, `model` and `run`
TRAIN = "train.py"  # whose runs do not say which program they are of


@dataclass
class RunSelection:
    """Where a run is and where it starts.

    Attributes:
        folder: of the run.
        checkpoint: to resume from; None at the start.
        finished: epochs of a run in which nothing is left to do, or 0.
        notes: what to tell the user.
        foreign: checkpoint of timm or torchvision that a new run continues from.
    """

    folder: str = ""
    checkpoint: str | None = None
    finished: int = 0
    notes: list[str] = field(default_factory=list)
    foreign: str | None = None


def default_name(options: TrainOptions) -> str:
    """The name of the folder of a run of train.py: data, model, loss, seed."""
    data = options.data.dataset or Path(options.data.data or options.data.data_dir or "data").name
    return folder_name(data, options.model.model, loss_text(options.loss, options.task), f"s{options.run.seed}")


@contextmanager
def selected_run(
    loaded: Loaded[Options], processes: Processes, name_of: Callable[[Options], str] = default_name
) -> Iterator[tuple[RunSelection, Options]]:
    """Decide on the main process, tell the others, and keep other runs out of the folder until the block ends.

    Args:
        loaded: options of train.py, or of another program that has the same group `run`.
        processes: of the run.
        name_of: names the folder of a new run.

    Yields:
        the selection, and the options: as given for a new run, as stored for one that is resumed.

    Raises:
        UserError: nothing to resume at the path given, options that contradict the run's, a run in which a process is
            training, or a folder that cannot be written to.
    """
    selections: list[RunSelection] = []
    locks: list[IO[str]] = []

    def select() -> None:
        selection = _plan(loaded, name_of)
        folder = RunFolder(Path(selection.folder))
        if not selection.finished:
            try:
                locks.append(folder.lock())
            except UserError:
                folder.remove_unstarted()
                raise
        selections.append(selection)

    try:
        processes.on_main(select)
        text = processes.text_of_main(json.dumps(asdict(selections[0]) if selections else None))
        selection = RunSelection(**json.loads(text))
        if selection.checkpoint is None:
            yield selection, loaded.options
        else:
            folder = RunFolder(Path(selection.folder))
            selection.notes += notes_on_old_run(folder)
            yield selection, merged_options(folder, loaded)
    finally:
        for lock in locks:
            lock.close()


def _plan(loaded: Loaded[Options], name_of: Callable[[Options], str]) -> RunSelection:
    run = loaded.options.run
    if not run.resume:
        return _new_run(loaded, name_of)
    if run.resume == "auto":
        return _resume_auto(loaded, name_of)
    return _resume_path(Path(run.resume), loaded, name_of)


def _new_run(loaded: Loaded[Options], name_of: Callable[[Options], str], notes: tuple[str, ...] = ()) -> RunSelection:
    options = loaded.options
    name = options.run.experiment or name_of(options)
    return RunSelection(str(claim_folder(output_folder(options), name).path), notes=list(notes))


def output_folder(options: Options) -> Path:
    """The folder of run folders; an empty --output, as timm writes it, means the default."""
    return Path(options.run.output or options_of(type(options))["output"].default)


def _resume_auto(loaded: Loaded[Options], name_of: Callable[[Options], str]) -> RunSelection:
    run = loaded.options.run
    output = output_folder(loaded.options)
    if run.experiment:
        candidates = [RunFolder(output / run.experiment)]
    else:
        folders = [RunFolder(path) for path in output.iterdir()] if output.is_dir() else []
        candidates = sorted((f for f in folders if f.is_run), key=lambda f: f.about.stat().st_mtime, reverse=True)
        candidates = [folder for folder in candidates if not differences(folder, loaded)]
    for folder in candidates:
        folder.wait_until_free()
        if folder.is_run:
            found, damaged = latest_complete(folder.checkpoints)
            if found is not None:
                _refuse_differences(folder, loaded)
                return _resumed(folder, found, damaged)
            if damaged:
                raise UserError(f"{folder.path}: no complete checkpoint ({damaged[0]})")
        if folder.path.is_dir() and not checkpoint_folders(folder.checkpoints):
            if folder.checkpoints.exists() and not folder.checkpoints.is_dir():
                raise UserError(f"{folder.checkpoints} is not a folder: remove it to start the run again")
            # It ended before its first checkpoint: nothing of it is worth keeping.
            note = f"{folder.path} has no checkpoint: starting from the beginning in it"
            return RunSelection(str(folder.path), notes=[note])
    return _new_run(loaded, name_of, (f"nothing to resume in {output}: starting a new run",))


def _resume_path(path: Path, loaded: Loaded[Options], name_of: Callable[[Options], str]) -> RunSelection:
    path = path.resolve()
    if not path.exists():
        raise UserError(f"--resume {path}: no such file or directory")
    if (path / MANIFEST).is_file() or path.parent.name == "checkpoints":
        folder = RunFolder(path.parent.parent)
        if not folder.is_run:
            raise UserError(f"--resume {path}: the checkpoint is not in a run folder")
        folder.wait_until_free()
        read_manifest_or_raise(path)
        _refuse_differences(folder, loaded)
        return _resumed(folder, path, [])
    folder = RunFolder(path)
    foreign = foreign_file(path)
    if not folder.is_run and foreign is not None and isinstance(loaded.options, TrainOptions):
        selection = _new_run(loaded, name_of)
        selection.foreign = str(foreign)
        return selection
    if not folder.is_run:
        raise UserError(f"--resume {path}: neither a run folder nor a checkpoint (it has no {folder.about.name})")
    _refuse_differences(folder, loaded)
    folder.wait_until_free()
    found, damaged = latest_complete(folder.checkpoints)
    if found is None:
        raise UserError(f"--resume {path}: no complete checkpoint" + (f" ({damaged[0]})" if damaged else ""))
    return _resumed(folder, found, damaged)


def _resumed(folder: RunFolder, checkpoint: Path, damaged: list[str]) -> RunSelection:
    """A run that is resumed from a checkpoint, or has nothing left to do."""
    epochs = folder.read_about()[1].get("epochs")
    progress = progress_of(checkpoint)
    # A run that was killed before it wrote its result has that left to do; one without evaluations writes none.
    has_result = progress.get("best") is None or (folder.path / RESULT).is_file()
    finished = epochs if has_result and progress.get("epoch") == epochs else 0
    return RunSelection(str(folder.path), str(checkpoint), finished, _fallback_notes(damaged, checkpoint))


def _fallback_notes(damaged: list[str], found: Path) -> list[str]:
    return [f"damaged checkpoint: {text}" for text in damaged] + ([f"going back to {found.name}"] if damaged else [])


def differences(folder: RunFolder, loaded: Loaded[Options]) -> list[str]:
    """Options that were given now, change training, and are not what the run was started with.

    A value in the YAML file that stood there when the run was started does not count: the command line that started
    the run may have overruled it.
    """
    try:
        stored, about = folder.read_about()
    except UserError as error:
        return [str(error)]
    theirs, ours = about.get("program", TRAIN), getattr(type(loaded.options), "program", TRAIN)
    if theirs != ours:
        return [f"it is a run of {theirs}, not of {ours}"]
    known = options_of(type(loaded.options))
    lines = []
    for name, now in _given_now(loaded, about).items():
        if known[name].scope != TRAINING or name not in stored or plain(stored[name]) == plain(now):
            continue
        if name == "loss" and is_loss_of_run(now, stored[name], about):
            continue
        where = "the command line" if name in loaded.command_line else loaded.options.run.config
        lines.append(f"{known[name].flag} is {plain(stored[name])!r} in the run and {plain(now)!r} in {where}")
    return lines


def is_loss_of_run(now: str | None, stored: str | None, about: dict[str, Any]) -> bool:
    """Whether two texts of --loss mean the same in a run, such as `sosr` and `ce+sosr(beta=0.5)`.

    Args:
        now: as given for this start.
        stored: as the run was started with.
        about: the run's record; its loss is in full, with what other options say of it.
    """
    try:
        new = parse_loss(now or "")
        if str(new) == about.get("loss"):
            return True
        old = parse_loss(stored or "")
    except ValueError:
        return False
    # What is left open is filled in by other options, which are the run's.
    return (str(new), new.base.given) == (str(old), old.base.given)


def _given_now(loaded: Loaded[Options], about: dict[str, Any]) -> dict[str, Any]:
    """What was given for this start: the command line, and what the YAML file says now and did not say then."""
    then = about.get("config", {})
    config = {n: v for n, v in loaded.config.items() if n not in then or plain(then[n]) != plain(v)}
    return {**config, **loaded.command_line}


def _refuse_differences(folder: RunFolder, loaded: Loaded[Options]) -> None:
    lines = differences(folder, loaded)
    if lines:
        raise UserError(f"cannot resume {folder.path}: {'; '.join(lines)}")


def merged_options(folder: RunFolder, loaded: Loaded[Options]) -> Options:
    """The run's options, with what may change (workers, folders, trackers) as given now.

    Raises:
        UserError: the stored options are not readable by this version.
    """
    stored, about = folder.read_about()
    known = options_of(type(loaded.options))
    values = check_values(known, stored, str(folder.options), ranges=False)
    given = _given_now(loaded, about)
    values = {name: value for name, value in values.items() if known[name].scope != THIS_START}
    smoothing = smoothing_of_old_run(stored, about)
    if smoothing is not None:
        values["smoothing"] = smoothing
    # A run that began before there was a choice has a permutation, whatever its length.
    if "order" in known:
        values.setdefault("order", "permutation")
    values.update({name: value for name, value in given.items() if known[name].scope != TRAINING})
    return build(type(loaded.options), values)


def notes_on_old_run(folder: RunFolder) -> list[str]:
    """What an option of the run meant when it began and would not mean today."""
    stored, about = folder.read_about()
    smoothing = smoothing_of_old_run(stored, about)
    if smoothing is None:
        return []
    return [
        f"the run began when --loss {stored['loss']} implied label smoothing {smoothing:g}: it continues with that "
        f"(a new run needs --smoothing {smoothing:g})"
    ]


def smoothing_of_old_run(stored: dict[str, Any], about: dict[str, Any]) -> float | None:
    """The label smoothing that --loss implied when a run began and does not imply today; None where that is the same.

    `--loss ce` without --smoothing once meant timm's 0.1, as a run without --loss still does.
    """
    if not stored.get("loss") or stored.get("smoothing") is not None:
        return None
    try:
        base = parse_loss(stored["loss"]).base
    except ValueError:
        return None
    return None if "smoothing" in base.given else about.get("smoothing") or None

"""metrics.jsonl, summary.csv and confidence.csv: what a run writes, line by line."""

from __future__ import annotations

import csv
import errno
import io
import json
import logging
import os
from pathlib import Path
from typing import Any

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.errors import reason_of


class MetricsLog:
    """metrics.jsonl and tables, appended to; on resume cut back to the checkpoint.

    Everything in a table, and everything in metrics.jsonl but the key "timing", is the same for a run that
    was stopped and one that was not.

    Args:
        folder: of the run.
        columns: of summary.csv, in order.
        confidence: columns of confidence.csv.
    """

    def __init__(self, folder: RunFolder, columns: tuple[str, ...], confidence: tuple[str, ...] = ()):
        self.folder, self.columns = folder, columns
        self.tables = {folder.summary: columns, folder.confidence: confidence}
        self._pending: dict[Path, str] = {}

    def line(self, record: dict[str, Any]) -> None:
        """Append one JSON line."""
        self._append(self.folder.metrics, json.dumps(record) + "\n")

    def row(self, values: dict[str, Any], table: Path | None = None) -> None:
        """Append one row of a table, after its header where it is the first.

        Args:
            values: by column.
            table: its file; summary.csv where not given.

        Raises:
            ValueError: a value that has no column.
        """
        text, table = io.StringIO(), table or self.folder.summary
        writer = csv.DictWriter(text, self.tables[table], lineterminator="\n")
        written = table.exists() and table.stat().st_size
        if not written and not self._pending.get(table):
            writer.writeheader()
        writer.writerow(values)
        self._append(table, text.getvalue())

    def rename_old_columns(self) -> None:
        """Give a table of an older version today's names, which are as long: EMA's values had a suffix, not the others.

        The sizes that checkpoints remember stay true.
        """
        path = self.folder.summary
        if not path.is_file():
            return
        with open(path, "r+b") as file:
            old = file.readline().decode().rstrip("\n").split(",")
            bare = {name.removesuffix("_ema") for name in old if name.endswith("_ema")}
            new = [name.removesuffix("_ema") if name not in bare else f"{name}_raw" for name in old]
            if bare and new == list(self.columns):
                file.seek(0)
                file.write(",".join(new).encode())

    def _append(self, path: Path, text: str) -> None:
        """Write a complete text or nothing; text that a full disk refuses is kept for the next call."""
        self._pending[path] = self._pending.get(path, "") + text
        try:
            self._write_pending(path)
        except OSError as error:
            logging.getLogger("sosr_timm").warning("%s not written (%s): kept for later", path.name, reason_of(error))

    def _write_pending(self, path: Path) -> None:
        text = self._pending.get(path, "")
        if not text:
            return
        with open(path, "ab", buffering=0) as file:
            before = file.tell()
            content = text.encode()
            try:
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(before)
                raise
        self._pending[path] = ""

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, after they reached the disk: what a checkpoint remembers.

        Raises:
            OSError: lines could not be written yet.
        """
        sizes = {}
        for path in (self.folder.metrics, *self.tables):
            self._write_pending(path)
            if not path.exists() and path == self.folder.confidence:
                continue  # of a run that records none
            if not path.exists():
                sizes[path.name] = 0
                continue
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                sizes[path.name] = os.fstat(file.fileno()).st_size
        return sizes

    def cut(self, sizes: dict[str, int]) -> None:
        """Drop what was written after a checkpoint; the resumed run writes it again."""
        self.rename_old_columns()
        for path in (self.folder.metrics, *self.tables):
            if path.exists() and path.stat().st_size > sizes.get(path.name, 0):
                os.truncate(path, sizes.get(path.name, 0))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; a half-written last line is left out."""
    records = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(text))
        except ValueError:
            break
    return records

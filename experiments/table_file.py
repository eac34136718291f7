"""Read a table of experiments/ strictly: every error names the file, the line and the nearest valid value."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.published import KEYS, published_table
from experiments.tables import PaperTable
from experiments.yaml_lines import Place, read_with_lines
from sosr_timm.errors import UserError
from sosr_timm.losses.spec import parse_loss
from sosr_timm.options.load import check_values
from sosr_timm.registry import close_names
from sosr_timm.runner.settings import PROGRAMS, options_of_program
from sosr_timm.runner.tables import Row
from tools.checkout import ROOT

TABLES = ROOT / "experiments"
OF_TABLE = {
    "title": str,
    "paper": str,
    "published": list,
    "metric": str,
    "note": str,
    "training_images": int,
    "program": str,
}
OF_ROW = {
    **{"recipe": str, "loss": str, "smoothing": float, "options": dict, "seeds": int},
    **{"against": str, "start": dict, "absent": str},
}
NAMING = (*KEYS, "grid")


def table_names(folder: Path = TABLES) -> list[str]:
    """Names of all tables."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_table(name: str, folder: Path = TABLES) -> PaperTable:
    """Read a table by name.

    Raises:
        UserError: an unknown table, or an invalid one (with file and line).
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"unknown table '{name}': {close_names(name, table_names(folder))}")
    content, lines = read_with_lines(path)
    reader = _Reader(path, lines)
    reader.known(content, {*OF_TABLE, *OF_ROW, "rows"}, ())
    values = {key: reader.value(content, key, kind, ()) for key, kind in OF_TABLE.items()}
    values["program"] = values["program"] or "train"
    if values["program"] not in PROGRAMS:
        raise reader.fault(("program",), f"unknown program '{values['program']}': {', '.join(PROGRAMS)}")
    for position, published in enumerate(values["published"]):
        try:
            published_table(published)
        except ValueError as error:
            raise reader.fault(("published", position), str(error)) from None
    if not values["published"] and not values["metric"]:
        raise reader.fault((), "a table needs 'published' or a 'metric'")
    if not isinstance(content.get("rows"), list) or not content["rows"]:
        raise reader.fault(("rows",), "'rows' is a list of rows")
    rows: list[Row] = []
    for position, entry in enumerate(content["rows"]):
        for row in reader.rows(entry, content, ("rows", position)):
            if any(row.key == other.key for other in rows):
                raise reader.fault(("rows", position), f"'{row.title}' appears twice")
            rows.append(row)
    table = PaperTable(name=name, path=path, rows=tuple(rows), **{**values, "published": tuple(values["published"])})
    for row in rows:
        if table.published and not table.published_values(row):
            raise UserError(f"{path}, line {row.line}: '{row.title}' is no row of {' or '.join(table.published)}")
        if row.against and table.reference_of(row) is None:
            raise UserError(f"{path}, line {row.line}: against: no row '{row.against}' to compare '{row.title}' with")
    return table


class _Reader:
    """Checked values of one file."""

    def __init__(self, path: Path, lines: dict[Place, int]):
        self.path, self.lines = path, lines

    def fault(self, place: Place, message: str) -> UserError:
        while place not in self.lines:
            place = place[:-1]
        return UserError(f"{self.path}, line {self.lines[place]}: {message}")

    def known(self, content: dict[str, Any], names: set[str], place: Place) -> None:
        for key in content:
            if key not in names:
                raise self.fault((*place, key), f"unknown key '{key}': {close_names(str(key), names)}")

    def value(self, content: dict[str, Any], key: str, kind: type, place: Place) -> Any:
        """The value of a key, or an empty value of its type if it is not given."""
        value = content.get(key, kind())
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise self.fault((*place, key), f"'{key}' takes {kind.__name__}, not {value!r}")
        return value

    def rows(self, entry: Any, common: dict[str, Any], place: Place) -> Iterator[Row]:
        """The rows of an entry: one, or one for each combination of its grid."""
        if not isinstance(entry, dict):
            raise self.fault(place, f"a row is a mapping of keys to values, not {entry!r}")
        self.known(entry, {*OF_ROW, *NAMING}, place)
        grid = self.value(entry, "grid", dict, place)
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise self.fault((*place, "grid", key), f"grid: '{key}' takes a list of values, not {values!r}")
        for combination in itertools.product(*grid.values()):
            chosen = dict(zip(grid, combination, strict=True))
            yield self.row({**entry, **{k: v for k, v in chosen.items() if k in KEYS}}, chosen, common, place)

    def row(self, entry: dict[str, Any], chosen: dict[str, Any], common: dict[str, Any], place: Place) -> Row:
        values = {}
        for key, kind in OF_ROW.items():
            source, where = (entry, place) if key in entry else (common, ())
            values[key] = self.value(source, key, kind, where)
            if key in ("recipe", "loss") and chosen:
                values[key] = self.filled(values[key], {**entry, **chosen}, (*place, key))
        options = {**self.value(common, "options", dict, ()), **self.value(entry, "options", dict, place)}
        known = options_of_program(common.get("program") or "train")
        values["options"] = check_values(known, options, f"{self.path}, line {self.lines[place]}")
        if values["against"] == entry.get("method"):
            values["against"] = ""
        key = {name: entry[name] for name in KEYS if name in entry}
        row = Row(key={**key, **{k: v for k, v in chosen.items() if k not in KEYS}}, line=self.lines[place], **values)
        if not key:
            raise self.fault(place, f"a row needs at least one of {', '.join(KEYS)}")
        if not row.absent:
            self.runnable(row, place, common.get("program") or "train")
        return row

    def filled(self, text: str, chosen: dict[str, Any], place: Place) -> str:
        try:
            return text.format_map(chosen)
        except (KeyError, ValueError, IndexError) as error:
            raise self.fault(place, f"{text!r}: no value for {error}; the grid has {', '.join(chosen)}") from None

    def runnable(self, row: Row, place: Place, program: str) -> None:
        """Raise if a row cannot be run."""
        if program == "detect":
            for name, value in (("recipe", row.recipe), ("loss", row.loss)):
                if value:
                    raise self.fault((*place, name), f"{name}: sosr-detect has none; a row has options")
            if row.seeds < 1:
                raise self.fault(place, "a row without 'seeds' says why in 'absent'")
            return
        for name, value in (("recipe", row.recipe), ("loss", row.loss), ("seeds", row.seeds)):
            if not value:
                raise self.fault(place, f"a row without '{name}' says why in 'absent'")
        if row.seeds < 1:
            raise self.fault((*place, "seeds"), f"seeds: at least 1, not {row.seeds}")
        try:
            parse_loss(row.loss)
        except ValueError as error:
            raise self.fault((*place, "loss"), str(error)) from None

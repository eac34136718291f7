"""The files of a comparison, as `sosr-compare` writes them and other programs read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sosr_timm.errors import UserError, one_line
from sosr_timm.runner.record import Record, load_records

FORMAT = 1
RESULT = "comparison.json"
RUNS = "runs"  # folder of the records
# What every comparison.json has. docs/compare.md says what it means.
FIELDS = {
    **{"name": str, "complete": bool, "summary": list, "notes": list, "baseline": str, "epochs": int, "data": dict},
    **{"evaluated_on": str, "recipe": str, "options": dict, "metrics": dict, "losses": list, "detectable": dict},
    **{"cost": dict},
}


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds a comparison's report."""
    return (folder / RESULT).is_file()


def load_comparison(folder: Path) -> tuple[dict[str, Any], list[Record]]:
    """The content of comparison.json, and the records of all finished runs, by file name.

    Args:
        folder: where `sosr-compare` writes its report (--results).

    Raises:
        UserError: a file is missing or damaged.
    """
    path = folder / RESULT
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} is no comparison: it has no {RESULT}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)})") from None
    if not isinstance(content, dict) or content.get("kind") != "comparison" or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a comparison of format {FORMAT}")
    wrong = [name for name, kind in FIELDS.items() if not isinstance(content.get(name), kind)]
    if wrong:
        raise UserError(f"{path}: {', '.join(wrong)}: missing, or of another type")
    try:
        return content, load_records(folder / RUNS)
    except ValueError as error:
        raise UserError(str(error)) from None

"""The scripts of docs/integrations.md."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"


def scripts() -> dict[str, str]:
    """The Python blocks of the page, by their heading."""
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        title: block for title, text in sections for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    }

"""One word for one thing: names, messages and docs use the words of CONTRIBUTING.md, not those beside them."""

import io
import re
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("sosr_timm", "experiments", "tools", "docs", "hparams", "README.md", "train.py", "validate.py")
# pattern -> what to say; each was a word of this project's own where the field has another one
WORDS = {
    r"\bgo(es|ing)? on (with|from|where|by|as|at|in)\b|\bgoes on\b": "resume, continue",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bwhoever\b": "the user",
    r"\b(speaks|speaking) of\b|\bsays nothing of\b": "not supported, has no effect",
    r"\bmade worse\b": "modified training set",
    r"\bflatter(s|ing)?\b": "optimistic",
    r"\bdearest\b": "slowest, most expensive",
    r"\baverages? of (the |its )?weights\b": "EMA",
    r"\bstraight (run|one)\b": "uninterrupted run",
    r"\bleft behind\b|\bleaves? behind\b": "save, write",
    r"\bunborn\b": "not started",
    r"\b(lie|lies) (in|at|below|beside|there)\b": "is, is stored",
    r"\bstands? (in|at|beside|there|once|twice)\b": "is, appears",
}
# Where a word is a key of files that older versions wrote.
ALLOWED = ('"average of weights"', "`average of weights`")


def texts(path: Path) -> list[tuple[int, str]]:
    """(line, text): all of a document; of code its comments and strings."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return list(enumerate(content.splitlines(), 1))
    found = []
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            found += [(token.start[0] + number, line) for number, line in enumerate(token.string.splitlines())]
    return found


def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {".py", ".md", ".yaml", ".jinja", ".sbatch"}
    return [ROOT / name for name in listed.split("\n") if Path(name).suffix in wanted and "/shipped/" not in name]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the list of files is git's")
@pytest.mark.parametrize("pattern", WORDS)
def test_the_words_are_those_of_the_field(pattern):
    compiled = re.compile(pattern, re.IGNORECASE)
    found = []
    for path in files():
        for line, text in texts(path):
            if compiled.search(text) and not any(allowed in text for allowed in ALLOWED):
                found.append(f"{path.relative_to(ROOT)}:{line}: {text.strip()[:100]}")
    assert not found, f"say {WORDS[pattern]!r}:\n" + "\n".join(found)

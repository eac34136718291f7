"""The example of docs/compare.md is what the stored comparison gives."""

from pathlib import Path

from sosr_timm.comparison.report import markdown
from sosr_timm.runner.comparison_file import load_comparison

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_is_the_stored_comparison():
    folder = ROOT / "results" / "comparisons" / "digits"
    content, records = load_comparison(folder)
    report = (folder / "comparison.md").read_text(encoding="utf-8")
    assert report == markdown(content)
    assert len(records) == 9 and content["complete"]
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    for sentence in content["summary"]:
        assert f"> {sentence}" in page
    rows = [line for line in report.partition("## Best epoch")[0].splitlines() if line.startswith("| ")]
    assert len(rows) == 9 and all(row in page for row in rows)

"""The example of docs/validate.md has the numbers of its results."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "validate.md").read_text(encoding="utf-8")


def test_the_table_has_the_recorded_values():
    evaluations = json.loads((ROOT / "results" / "judging" / "digits_evaluations.json").read_text())
    assert list(evaluations) == ["ce", "ls", "sosr", "maxsup", "ols"]
    for name, record in evaluations.items():
        metrics = record["weights"]["weights"]
        by, ood = metrics["selective"], metrics["ood"]
        values = [f"{metrics['top1']:.2f}", f"{metrics['ece']:.4f}", f"{metrics['temperature']['after']['ece']:.4f}"]
        values += [f"{by[confidence]['aurc']:.5f}" for confidence in ("max_softmax", "p_norm")]
        values += [f"{by['max_softmax']['auroc']:.4f}"]
        values += [f"{ood[score]['auroc']:.4f}" for score in ("max_softmax", "max_logit")]
        assert " | ".join([f"| `{name}`", *values]) + " |" in PAGE


def test_the_sentences_have_the_recorded_verdicts():
    digits, fashion = (
        json.loads((ROOT / "results" / "judging" / f"{name}.json").read_text()) for name in ("digits", "fashion_mnist")
    )
    smoothed, *_, online = [one["metrics"] for one in digits["comparisons"]]
    assert smoothed["aurc"]["better"] is smoothed["auroc"]["better"] is None
    assert smoothed["aurc"]["difference"] > 0 > smoothed["auroc"]["difference"]
    assert online["aurc"]["better"] == "a"
    larger = fashion["comparisons"][0]["metrics"]
    assert larger["aurc"]["better"] == larger["top1"]["better"] == "b" and larger["auroc"]["better"] is None
    for name, digits_of in (("aurc", 5), ("top1", 2), ("auroc", 4)):
        assert f"{larger[name]['b']:.{digits_of}f}" in PAGE and f"{larger[name]['a']:.{digits_of}f}" in PAGE

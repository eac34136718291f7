"""What a card says of the losses: a sentence or two each, the paper, its BibTeX entry."""

from __future__ import annotations

from dataclasses import dataclass

from sosr_timm.losses.spec import LossSpec


@dataclass(frozen=True)
class Method:
    """One published loss.

    Attributes:
        name: as papers call it.
        about: what it does.
        arxiv: the paper's number.
        bibtex: the paper's entry.
    """

    name: str
    about: str
    arxiv: str
    bibtex: str


def _entry(key: str, title: str, authors: str, year: int, arxiv: str) -> str:
    return (
        f"@misc{{{key},\n  title         = {{{{{title}}}}},\n  author        = {{{authors}}},\n"
        f"  year          = {{{year}}},\n  eprint        = {{{arxiv}}},\n  archivePrefix = {{arXiv}}\n}}"
    )


METHODS = {
    "sosr": Method(
        "Selective Output Smoothing Regularization (SOSR)",
        "Where the network is right and its probability of the label exceeds the threshold, the logits of all wrong "
        "classes are drawn to their mean. Sure and correct samples keep teaching that way; all others are left alone. "
        "It costs nothing at inference.",
        "2103.15383",
        _entry(
            "cheng2021selective",
            "Selective Output Smoothing Regularization: Regularize Neural Networks by Softening Output Distributions",
            "Xuan Cheng and Tianshu Xie and Xiaomin Wang and Qifeng Weng and Minghui Liu and Jiali Deng and Ming Liu",
            2021,
            "2103.15383",
        ),
    ),
    "ols": Method(
        "Online Label Smoothing (OLS)",
        "Beside the label, the network learns from a soft label of each class: the mean of its own probabilities over "
        "the samples of that class that it classified correctly in the epoch before.",
        "2011.12562",
        _entry(
            "zhang2020delving",
            "Delving Deep into Label Smoothing",
            "Chang-Bin Zhang and Peng-Tao Jiang and Qibin Hou and Yunchao Wei and Qi Han and Zhen Li "
            "and Ming-Ming Cheng",
            2020,
            "2011.12562",
        ),
    ),
    "maxsup": Method(
        "Max Suppression (MaxSup)",
        "The largest logit is pushed towards the mean of all logits, whether it is the label's or not, by a weight "
        "that grows from epoch to epoch.",
        "2502.15798",
        _entry(
            "zhou2025maxsup",
            "MaxSup: Overcoming Representation Collapse in Label Smoothing",
            "Yuxuan Zhou and Heng Li and Zhi-Qi Cheng and Xudong Yan and Yifei Dong and Mario Fritz and Margret Keuper",
            2025,
            "2502.15798",
        ),
    ),
    "cp": Method(
        "Confidence penalty",
        "The entropy of the prediction is rewarded, so that the network does not put all probability on one class.",
        "1701.06548",
        _entry(
            "pereyra2017regularizing",
            "Regularizing Neural Networks by Penalizing Confident Output Distributions",
            "Gabriel Pereyra and George Tucker and Jan Chorowski and {\\L}ukasz Kaiser and Geoffrey Hinton",
            2017,
            "1701.06548",
        ),
    ),
}


def methods_of(spec: LossSpec) -> list[Method]:
    """The published losses in a loss; none for timm's own."""
    return [METHODS[term.name] for term in (spec.base, *spec.penalties) if term.name in METHODS]

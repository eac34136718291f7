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
        arxiv: the paper's number there, or "".
        bibtex: the paper's entry.
        doi: of a paper that is not on arXiv.
    """

    name: str
    about: str
    arxiv: str
    bibtex: str
    doi: str = ""

    @property
    def paper(self) -> str:
        """Where the paper is, in Markdown."""
        if self.arxiv:
            return f"arXiv [{self.arxiv}](https://arxiv.org/abs/{self.arxiv})"
        return f"DOI [{self.doi}](https://doi.org/{self.doi})"


def _entry(key: str, title: str, authors: str, year: int, arxiv: str) -> str:
    return (
        f"@misc{{{key},\n  title         = {{{{{title}}}}},\n  author        = {{{authors}}},\n"
        f"  year          = {{{year}}},\n  eprint        = {{{arxiv}}},\n  archivePrefix = {{arXiv}}\n}}"
    )


_MAXSUP = _entry(
    "zhou2025maxsup",
    "MaxSup: Overcoming Representation Collapse in Label Smoothing",
    "Yuxuan Zhou and Heng Li and Zhi-Qi Cheng and Xudong Yan and Yifei Dong and Mario Fritz and Margret Keuper",
    2025,
    "2502.15798",
)

METHODS = {
    "sosr": Method(
        "Selective Output Smoothing Regularization (SOSR)",
        "Where the model is right and its probability of the label exceeds the threshold, the logits of all wrong "
        "classes are drawn to their mean. This keeps a gradient for samples that are already classified confidently; "
        "other samples are unchanged. It costs nothing at inference.",
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
        "Beside the label, the model learns from a soft label of each class: the mean of its own probabilities over "
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
        _MAXSUP,
    ),
    "cp": Method(
        "Confidence penalty",
        "The entropy of the prediction is rewarded, so that the model does not put all probability on one class.",
        "1701.06548",
        _entry(
            "pereyra2017regularizing",
            "Regularizing Neural Networks by Penalizing Confident Output Distributions",
            "Gabriel Pereyra and George Tucker and Jan Chorowski and {\\L}ukasz Kaiser and Geoffrey Hinton",
            2017,
            "1701.06548",
        ),
    ),
    "focal": Method(
        "Focal loss",
        "Cross entropy that counts less where the model already gives the label much probability.",
        "1708.02002",
        _entry(
            "lin2017focal",
            "Focal Loss for Dense Object Detection",
            "Tsung-Yi Lin and Priya Goyal and Ross Girshick and Kaiming He and Piotr Doll{\\'a}r",
            2017,
            "1708.02002",
        ),
    ),
    "logitnorm": Method(
        "Logit normalization (LogitNorm)",
        "Cross entropy of logits that are divided by their norm, so that the model cannot become more confident by "
        "scaling them.",
        "2205.09310",
        _entry(
            "wei2022mitigating",
            "Mitigating Neural Network Overconfidence with Logit Normalization",
            "Hongxin Wei and Renchunzi Xie and Hao Cheng and Lei Feng and Bo An and Yixuan Li",
            2022,
            "2205.09310",
        ),
    ),
    "relaxation": Method(
        "Label relaxation",
        "Once the label has enough probability there is no loss, whatever the other classes have; before that, the "
        "divergence from the nearest distribution that gives it enough.",
        "",
        "@inproceedings{lienen2021label,\n  title     = {{From Label Smoothing to Label Relaxation}},\n"
        '  author    = {Julian Lienen and Eyke H{\\"u}llermeier},\n'
        "  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},\n  year      = {2021},\n"
        "  doi       = {10.1609/aaai.v35i10.17041}\n}",
        "10.1609/aaai.v35i10.17041",
    ),
    "tfkd": Method(
        "Teacher-free distillation (Tf-KD)",
        "The model learns from the labels and from a made-up teacher, which gives the label a fixed probability and "
        "all other classes the same.",
        "1909.11723",
        _entry(
            "yuan2020revisiting",
            "Revisiting Knowledge Distillation via Label Smoothing Regularization",
            "Li Yuan and Francis E. H. Tay and Guilin Li and Tao Wang and Jiashi Feng",
            2020,
            "1909.11723",
        ),
    ),
    "logit_penalty": Method(
        "Logit penalty",
        "A small penalty on the squared norm of the logits.",
        "2010.16402",
        _entry(
            "kornblith2021why",
            "Why Do Better Loss Functions Lead to Less Transferable Features?",
            "Simon Kornblith and Ting Chen and Honglak Lee and Mohammad Norouzi",
            2021,
            "2010.16402",
        ),
    ),
    "margin": Method(
        "Margin-based label smoothing (MbLS)",
        "Logits may be below the top one by a margin at no cost, and pay for what goes beyond it.",
        "2111.15430",
        _entry(
            "liu2022devil",
            "The Devil is in the Margin: Margin-based Label Smoothing for Network Calibration",
            "Bingyuan Liu and Ismail Ben Ayed and Adrian Galdran and Jose Dolz",
            2022,
            "2111.15430",
        ),
    ),
    "zipf": Method(
        "Zipf's label smoothing, by the ranks of the logits",
        "The probabilities of the wrong classes are drawn towards Zipf's law by their rank in the prediction itself. "
        "The paper's tables rank by votes of the positions of the last feature map instead.",
        "2207.12980",
        _entry(
            "liang2022efficient",
            "Efficient One Pass Self-distillation with Zipf's Label Smoothing",
            "Jiajun Liang and Linze Li and Zhaodong Bing and Borui Zhao and Yao Tang and Bo Lin and Haoqiang Fan",
            2022,
            "2207.12980",
        ),
    ),
    "ls_parts": Method(
        "A part of label smoothing",
        "One of the terms that label smoothing is made of, by itself: an ablation of the MaxSup paper.",
        "2502.15798",
        _MAXSUP,
    ),
}


def methods_of(spec: LossSpec) -> list[Method]:
    """The published losses in a loss; none for timm's own."""
    return [METHODS[term.name] for term in (spec.base, *spec.penalties) if term.name in METHODS]

"""Plausible faults in the losses and the row kernels, each with the tests that must catch it.

A fault is a replacement of source text, which must be in its file exactly once: where the source changes, the list has
to follow, and `python -m tools.mutation` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

LOSSES, KERNELS = "sosr_timm/losses", "sosr_timm/kernels"


@dataclass(frozen=True)
class Fault:
    """A fault to plant.

    Attributes:
        name: what is wrong.
        file: the source file.
        old: its text.
        new: the faulty text.
        tests: the test files that must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def fault(name: str, file: str, old: str, new: str, *tests: str) -> Fault:
    """A fault, with the tests by their names in tests/losses, or tests/kernels after `kernels/`."""
    paths = [f"tests/{test}.py" if "/" in test else f"tests/losses/{test}.py" for test in tests]
    return Fault(name, file, old, new, tuple(paths))


SOSR = f"{LOSSES}/sosr.py"
OLS = f"{LOSSES}/ols.py"
CROSS_ENTROPY = f"{LOSSES}/cross_entropy.py"
FOCAL = f"{LOSSES}/focal.py"
RELAXATION = f"{LOSSES}/label_relaxation.py"
TEACHER = f"{LOSSES}/teacher_free.py"
ZIPF = f"{LOSSES}/zipf.py"
PARTS = f"{LOSSES}/smoothing_parts.py"
COMPOSE = f"{LOSSES}/compose.py"
SPEC = f"{LOSSES}/spec.py"
TARGETS = f"{LOSSES}/targets.py"
BASE = f"{LOSSES}/base.py"
BLOCK = f"{KERNELS}/cpu_block.py"
FUNCTION = f"{KERNELS}/function.py"

FAULTS = [
    # SOSR
    fault("threshold reached is enough", SOSR, "(belief > threshold)", "(belief >= threshold)", "test_sosr"),
    fault("arg max test dropped", SOSR, "(top_is_label | (label_count > 1))", "(label_count > 0)", "test_sosr"),
    fault("arg max test of mixed rows too", SOSR, "(top_is_label | (label_count > 1))", "top_is_label", "test_sosr"),
    fault("divided by K - 1", SOSR, ".sum(dim=1) / classes", ".sum(dim=1) / (classes - 1)", "test_sosr"),
    fault(
        "mean over the selected instead of M",
        SOSR,
        "return self.weighted_mean(spread, labels), {",
        "return self.weighted_mean(spread, labels) / selected.to(spread.dtype).mean().clamp(min=1e-9), {",
        "test_golden",
        "test_sosr",
        "test_mixing",
    ),
    fault("label's logit counts in the mean", SOSR, "wrong_count.clamp(min=1)", "(wrong_count + 1)", "test_sosr"),
    fault("no clamp of a sum of probabilities", SOSR, ".clamp(max=1.0)", ".clamp(max=2.0)", "test_sosr"),
    # OLS
    fault(
        "alpha on the wrong side",
        OLS,
        "self.alpha * hard + (1.0 - self.alpha) * soft",
        "(1.0 - self.alpha) * hard + self.alpha * soft",
        "test_mixing",
    ),
    fault("a mixed sample is counted", OLS, " & (labels.mask().sum(dim=1) == 1)", "", "test_ols", "test_mixing"),
    fault(
        "wrong samples are counted",
        OLS,
        "counted = log_p.argmax(dim=1) == index\n        else:",
        "counted = torch.ones_like(index, dtype=torch.bool)\n        else:",
        "test_golden",
        "test_ols",
        "test_modes",
        "kernels/test_cpu",
    ),
    fault(
        "sums in float32",
        OLS,
        "dtype = state_dtype(device)\n        check",
        "dtype = torch.float32\n        check",
        "test_ols",
    ),
    fault(
        "counts are not summed over processes",
        OLS,
        "total, count = sum_over_ranks(total), sum_over_ranks(count)",
        "total = sum_over_ranks(total)",
        "test_ols",
    ),
    fault(
        "sums are not summed over processes",
        OLS,
        "total, count = sum_over_ranks(total), sum_over_ranks(count)",
        "count = sum_over_ranks(count)",
        "test_ols",
    ),
    fault("an empty class keeps 0", OLS, "masked_fill(unseen, uniform)", "masked_fill(unseen, 0.0)", "test_ols"),
    fault(
        "sums live on after an epoch", OLS, "        self.probability_sum.zero_()\n", "", "test_golden", "test_mixing"
    ),
    fault(
        "counts live on after an epoch", OLS, "        self.correct_count.zero_()\n", "", "test_golden", "test_mixing"
    ),
    fault(
        "the graph is kept by the sums",
        OLS,
        "self._accumulate(log_p.detach(), labels)",
        "self._accumulate(log_p, labels)",
        "test_ols",
        "test_contract",
    ),
    fault("sample weights do not count", OLS, "if labels.sample_weight is not None:", "if False:", "test_weights"),
    # Cross entropy, maxsup, confidence penalty
    fault(
        "smoothing over K - 1 classes",
        CROSS_ENTROPY,
        "smoothing * log_probabilities.mean(dim=1)",
        "smoothing * log_probabilities.sum(dim=1) / (log_probabilities.shape[1] - 1)",
        "test_cross_entropy",
    ),
    fault(
        "rising smoothing ends too early",
        CROSS_ENTROPY,
        "(self.end - self.start) * progress",
        "(self.end - self.start) * progress**0.5",
        "test_cross_entropy",
    ),
    fault(
        "rising smoothing on mixed targets",
        CROSS_ENTROPY,
        "if self.end is not None and labels.dense is not None:",
        "if False:",
        "test_cross_entropy",
    ),
    fault("weight of maxsup never changes", f"{LOSSES}/maxsup.py", "self.weight.fill_(", "(", "test_maxsup"),
    fault(
        "maxsup's mean without the top",
        f"{LOSSES}/maxsup.py",
        "logits.mean(dim=1)\n",
        "logits.detach().mean(dim=1)\n",
        "test_maxsup",
    ),
    fault(
        "entropy of the wrong sign",
        f"{LOSSES}/confidence_penalty.py",
        "- total.log1p()",
        "+ total.log1p()",
        "test_confidence_penalty",
    ),
    # Losses of other papers
    fault(
        "the modulation of focal loss is detached",
        FOCAL,
        "-(complement**power) * log_p",
        "-(complement.detach()**power) * log_p",
        "test_focal",
    ),
    fault(
        "FLSD-53 switches at a half",
        FOCAL,
        "LOW_PROBABILITY, LOW_GAMMA, GAMMA = 0.2,",
        "LOW_PROBABILITY, LOW_GAMMA, GAMMA = 0.5,",
        "test_focal",
    ),
    fault("FLSD-53 switches the other way", FOCAL, "< LOW_PROBABILITY", "> LOW_PROBABILITY", "test_focal"),
    fault(
        "digits of 1 - p are lost",
        f"{LOSSES}/log_probabilities.py",
        ".scatter(1, top.indices, rest / total)",
        "",
        "test_focal",
    ),
    fault(
        "top logit's gradient given and taken",
        f"{LOSSES}/log_probabilities.py",
        ").scatter(1, top.indices, 0.0)\n    power",
        ")\n    power",
        "test_focal",
    ),
    fault(
        "temperature outside of the norm's offset",
        f"{LOSSES}/logit_normalization.py",
        "(temperature * (torch.linalg",
        "(temperature + 0 * (torch.linalg",
        "test_logit_normalization",
    ),
    fault(
        "no offset for logits that are 0",
        f"{LOSSES}/logit_normalization.py",
        "NORM_OFFSET = 1e-7",
        "NORM_OFFSET = 0.0",
        "test_logit_normalization",
    ),
    fault(
        "relaxed label inside is not free",
        RELAXATION,
        "log_p >= math.log1p(-alpha), 0.0",
        "log_p >= 0.0, 0.0",
        "test_label_relaxation",
    ),
    fault(
        "relaxation forgets the rest",
        RELAXATION,
        " + alpha * (math.log(alpha) - complement.log())",
        "",
        "test_label_relaxation",
    ),
    fault(
        "a label that falls short later is forgotten",
        RELAXATION,
        "(shortfall > scale).long()",
        "(shortfall > 0).long()",
        "test_label_relaxation",
    ),
    fault(
        "the code's form divides by the batch only",
        TEACHER,
        "divergence = divergence / logits.shape[1]",
        "divergence = divergence",
        "test_teacher_free",
    ),
    fault(
        "the teacher's other classes share with the label",
        TEACHER,
        "others = num_classes - 1",
        "others = num_classes",
        "test_teacher_free",
    ),
    fault(
        "the paper's form does not soften the prediction",
        TEACHER,
        "(logits / self.temperature).log_softmax",
        "logits.log_softmax",
        "test_teacher_free",
    ),
    fault(
        "half of the logit penalty is missing",
        f"{LOSSES}/logit_penalty.py",
        ".sum(dim=1) / 2",
        ".sum(dim=1)",
        "test_logit_penalty",
    ),
    fault(
        "margin's mean over what goes beyond",
        f"{LOSSES}/margin.py",
        ".relu().mean(dim=1)",
        ".relu().sum(dim=1)",
        "test_margin",
    ),
    fault(
        "margin of the label instead of the top",
        f"{LOSSES}/margin.py",
        "- logits - margin",
        "- logits + margin",
        "test_margin",
    ),
    fault("ties have the largest rank", ZIPF, "lowest_first) + 1", "lowest_first, right=True)", "test_zipf"),
    fault(
        "Zipf's law takes a gradient",
        ZIPF,
        "    log_r = logits.scatter(1, label,",
        "    log_r = logits.detach().scatter(1, label,",
        "test_zipf",
    ),
    fault(
        "the label is among the wrong classes", ZIPF, ".pow(-power).scatter(1, label, 0.0)", ".pow(-power)", "test_zipf"
    ),
    fault("equal logits are larger ones", PARTS, "else distance < 0", "else distance <= 0", "test_smoothing_parts"),
    fault("parts divided by K", PARTS, "chosen.sum(dim=1).clamp(min=1)", "logits.shape[1]", "test_smoothing_parts"),
    # What all share
    fault(
        "autocast stays on",
        COMPOSE,
        "return torch.autocast(device_type, enabled=False)",
        "return contextlib.nullcontext()",
        "test_ols",
    ),
    fault(
        "bfloat16 stays bfloat16",
        BASE,
        "return values.float() if values.dtype in (torch.float16, torch.bfloat16)",
        "return values.float() if values.dtype in (torch.float16,)",
        "test_base",
        "test_contract",
    ),
    fault("a part keeps its graph", COMPOSE, "name: share.detach()", "name: share", "test_contract"),
    fault(
        "another number of classes is taken",
        COMPOSE,
        "labels.num_classes != self.num_classes:",
        "False:",
        "test_compose",
    ),
    fault(
        "label smoothing of dense targets stays in",
        TARGETS,
        "if self.dense is None or not self.smoothing:",
        "if True:",
        "test_targets",
        "test_mixing",
    ),
    fault("rounding is a label", TARGETS, "LABEL_WEIGHT = 1e-6", "LABEL_WEIGHT = 1e-9", "test_targets", "test_mixing"),
    fault(
        "ignored samples count in the divisor",
        TARGETS,
        "size = weight if size is None else weight * size",
        "size = torch.ones_like(weight) if size is None else weight * size",
        "test_weights",
    ),
    fault(
        "margin goes with label smoothing",
        SPEC,
        '"zipf", "margin", "ls_parts")',
        '"zipf", "ls_parts")',
        "test_compose",
        "test_spec",
    ),
    fault(
        "rising smoothing goes with maxsup",
        SPEC,
        ' or (spec.base.name == "ce" and spec.base.keywords["end"])',
        "",
        "test_compose",
        "test_spec",
    ),
    fault(
        "state is cast with the model",
        BASE,
        "for name, buffer in self._buffers.items() if buffer is not None}",
        "for name, buffer in self._buffers.items() if False}",
        "test_contract",
    ),
    # The row kernel on the CPU
    fault(
        "kernel: threshold reached is enough",
        BLOCK,
        "self.work.threshold * self.total < 1.0",
        "self.work.threshold * self.total <= 1.0",
        "kernels/test_cpu",
        "test_sosr",
    ),
    fault(
        "kernel: maxsup over K - 1",
        BLOCK,
        "float(work.maxsup) / self.classes",
        "float(work.maxsup) / (self.classes - 1)",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: the target's sum is taken for 1",
        BLOCK,
        "self.weight = row_sums(self.target)",
        "self.weight = np.ones(self.rows)",
        "kernels/test_cpu",
        "test_ols",
        "test_any_target",
    ),
    fault(
        "kernel: factor of the gradient in SOSR twice",
        BLOCK,
        "value=2.0 * scale",
        "value=2.0 * scale * scale",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: maxsup's top logit has no gradient",
        BLOCK,
        "self.power_flat[self.top_place] += scale * float(self.work.maxsup)",
        "pass",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: odds of focal loss are of 1",
        BLOCK,
        "odds = power / others",
        "odds = power / self.total",
        "test_golden_terms",
    ),
    fault(
        "kernel: focal loss of a certain label",
        BLOCK,
        "np.where(self.top == self.index, self.rest, self.total - power)",
        "self.total - power",
        "test_focal",
    ),
    fault("kernel: FLSD-53 at another probability", BLOCK, "np.exp(log_p) < 0.2", "np.exp(log_p) < 0.25", "test_focal"),
    fault(
        "kernel: made-up teacher without its constant",
        BLOCK,
        "value += work.offset",
        "value += 0.0",
        "test_golden_terms",
    ),
    fault(
        "kernel: made-up teacher weighs 1",
        f"{LOSSES}/fused.py",
        '"mass": (1.0 - term.alpha) + share',
        '"mass": 1.0',
        "test_golden_terms",
    ),
    fault(
        "kernel: margin pushes every logit", BLOCK, "self.beyond.sign_()", "self.beyond.fill_(-1.0)", "kernels/test_cpu"
    ),
    fault(
        "kernel: margin's top logit has no gradient",
        BLOCK,
        "self.power_flat[self.top_place] -= factor * row_sums(self.beyond)",
        "pass",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: smoothing part of no logits", BLOCK, "factor * (self.compared_count > 0)", "factor", "kernels/test_cpu"
    ),
    fault(
        "kernel: amplification pulls",
        BLOCK,
        'value=1.0 if self.work.part == "regularization" else -1.0',
        "value=1.0",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: logit penalty's gradient doubled",
        BLOCK,
        "alpha=work.logit_penalty * scale",
        "alpha=2 * work.logit_penalty * scale",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: memory of a smaller batch",
        f"{KERNELS}/scratch.py",
        "if kept is None or len(kept) < size:",
        "if kept is None:",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: memory of another number format",
        f"{KERNELS}/scratch.py",
        'key = f"{name} {dtype}"',
        "key = name",
        "kernels/test_cpu",
    ),
    fault(
        "kernel: memory of another number of classes",
        f"{KERNELS}/scratch.py",
        "(last.rows, last.classes, last.dtype) == (rows, classes, dtype)",
        "(last.rows * last.classes, last.dtype) == (rows * classes, dtype)",
        "kernels/test_cpu",
        "test_golden",
    ),
    fault(
        "kernel: memory made under inference_mode",
        f"{KERNELS}/scratch.py",
        "with torch.inference_mode(False):",
        "if True:",
        "test_modes",
    ),
    fault(
        "kernel: a second look counts again",
        f"{KERNELS}/work.py",
        "return replace(self, probability_sum=None, correct_count=None)",
        "return self",
        "kernels/test_function",
    ),
    fault(
        "kernel: the factor of backward is lost",
        FUNCTION,
        "gradient.mul_(incoming)",
        "pass",
        "kernels/test_cpu",
        "kernels/test_function",
    ),
    fault(
        "kernel: the gradient is handed over twice",
        FUNCTION,
        "gradient, ctx.gradient = ctx.gradient, None",
        "gradient = ctx.gradient",
        "kernels/test_function",
    ),
    fault(
        "kernel: float16 without its loss scale",
        FUNCTION,
        "if logits.dtype != torch.float16:",
        "if True:",
        "kernels/test_function",
    ),
    fault(
        "kernel: for a learned target",
        f"{KERNELS}/dispatch.py",
        "(dense.requires_grad and torch.is_grad_enabled())",
        "False",
        "kernels/test_dispatch",
    ),
    fault(
        "kernel: under torch.func",
        f"{KERNELS}/dispatch.py",
        "if transformed() or type(logits) not in PLAIN_TENSORS:",
        "if False:",
        "kernels/test_dispatch",
    ),
    fault(
        "kernel: an unknown term is taken for nothing",
        f"{LOSSES}/fused.py",
        "if type(term) not in WORK:\n            raise",
        "if False:\n            raise",
        "test_fused",
    ),
    fault(
        "kernel: weights of samples are ignored",
        f"{LOSSES}/fused.py",
        "if labels.sample_weight is not None or base.weighs_classes:",
        "if base.weighs_classes:",
        "test_weights",
    ),
]

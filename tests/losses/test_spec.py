"""The grammar: what it reads, what it refuses and in which words, and that no text gets past it."""

import string
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sosr_timm.losses import BASES, PENALTIES, LossSpec, create_loss, parse_loss
from sosr_timm.losses.spec import REPLACES_SMOOTHING
from tests.losses.cases import ARGUMENTS, INDEX_ONLY, OUR_BASES


@pytest.mark.parametrize(
    "text, full",
    [
        ("ce", "ce(smoothing=0.0)"),
        ("sosr", "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)"),
        ("ce()+sosr()", "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)"),
        ("maxsup", "ce(smoothing=0.0)+maxsup(start=0.1, end=0.2)"),
        ("ls", "ce(smoothing=0.1)"),
        ("ls()", "ce(smoothing=0.1)"),
        ("ls(smoothing=0.2)", "ce(smoothing=0.2)"),
        ("ls+sosr+cp", "ce(smoothing=0.1)+sosr(threshold=0.99, beta=0.5)+cp(weight=0.1)"),
        ("cp+sosr", "ce(smoothing=0.0)+cp(weight=0.1)+sosr(threshold=0.99, beta=0.5)"),
        (" ols + sosr ", "ols(alpha=0.5, init='uniform')+sosr(threshold=0.99, beta=0.5)"),
        (
            "ce+sosr(threshold=0.95, beta=1)+cp(weight=.1)",
            "ce(smoothing=0.0)+sosr(threshold=0.95, beta=1.0)+cp(weight=0.1)",
        ),
        ("sosr(\n  beta=1e-3,  # a remark\n)", "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.001)"),
        ("ce(smoothing=0.1, end=0.2)", "ce(smoothing=0.1, end=0.2)"),
        ("ce(end=None)", "ce(smoothing=0.0)"),
        ("focal", "focal(gamma=3.0, smoothing=0.0)"),
        ("focal(schedule=53)", "focal(gamma=3.0, schedule=53, smoothing=0.0)"),
        ("logitnorm", "logitnorm(temperature=0.04, smoothing=0.0)"),
        ("relaxation", "relaxation(alpha=0.1)"),
        ("tfkd", "tfkd(alpha=0.95, temperature=40.0, correct=0.99, multiplier=1.0, form='code')"),
        ("logit_penalty", "ce(smoothing=0.0)+logit_penalty(weight=0.002)"),
        ("margin", "ce(smoothing=0.0)+margin(margin=10.0, weight=0.1)"),
        ("zipf", "ce(smoothing=0.0)+zipf(weight=0.1, power=1.0, ranks='logits')"),
        ("ls_parts", "ce(smoothing=0.0)+ls_parts(part='regularization', weight=0.1)"),
        ("poly(epsilon=-1)", "poly(smoothing=0.0, epsilon=-1.0, gamma=0.0, alpha=None)"),
        ("jsd(splits=3)", "jsd(smoothing=0.0, splits=3)"),
        (
            "bce(sum=True, target_thresh=0.2, class_weight=[1, 2])",
            "bce(smoothing=0.0, class_weight=[1.0, 2.0], pos_weight=None, target_thresh=0.2, sum=True)",
        ),
    ],
)
def test_full_form(text, full):
    assert str(parse_loss(text)) == full
    assert parse_loss(full) == parse_loss(text)
    assert create_loss(text).full_form == full
    assert create_loss(parse_loss(text)).full_form == full


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a loss is a string such as 'ce+sosr', got an empty one"),
        (" \n", "a loss is a string such as 'ce+sosr', got an empty one"),
        (None, "a loss is a string such as 'ce+sosr', got NoneType"),
        (["sosr"], "a loss is a string such as 'ce+sosr', got list"),
        ("sors", "loss 'sors': unknown loss 'sors' (column 1): did you mean 'sosr'?"),
        (
            "ce+brier",
            "loss 'ce+brier': unknown loss 'brier' (column 4): "
            "known: asl, bce, ce, cp, db, focal, jsd, logit_penalty, logitnorm, ls, ls_parts, margin, maxsup, ols, "
            "poly, relaxation, sosr, tfkd, twoway, zipf, zlpr",
        ),
        (
            "ce+sosr(treshold=0.9)",
            "loss 'ce+sosr(treshold=0.9)': sosr has no keyword 'treshold' (column 9): did you mean 'threshold'?",
        ),
        ("sosr+ce", "loss 'sosr+ce': base 'ce' must come first: 'ce+sosr' (column 6)"),
        ("cp+sosr+bce", "loss 'cp+sosr+bce': base 'bce' must come first: 'bce+cp+sosr' (column 9)"),
        ("sosr+ls", "loss 'sosr+ls': base 'ls' must come first: 'ls+sosr' (column 6)"),
        ("ce+ls", "loss 'ce+ls': two bases, 'ce' and 'ls': a loss has one (column 4)"),
        ("ls+ls", "loss 'ls+ls': 'ls' appears twice (column 4)"),
        ("ls(0.1)", "loss 'ls(0.1)': ls takes keywords only, as ls(key=value) (column 4)"),
        ("ls(smoothing=0.1, smoothing=0.2)", "loss 'ls(smoothing=0.1, smoothing=0.2)': ls has 'smoothing' twice"),
        ("ls(smoothing=1)", "loss 'ls(smoothing=1)': ls: smoothing must be in [0, 1), got 1 (column 1)"),
        ("ls(smooth=1)", "loss 'ls(smooth=1)': ls has no keyword 'smooth' (column 4): did you mean 'smoothing'?"),
        ("ls+maxsup", "loss 'ls+maxsup': maxsup takes the place of label smoothing"),
        ("ce+ols", "loss 'ce+ols': two bases, 'ce' and 'ols': a loss has one (column 4)"),
        ("sosr+cp+sosr", "loss 'sosr+cp+sosr': 'sosr' appears twice (column 9)"),
        ("sosr(0.9)", "loss 'sosr(0.9)': sosr takes keywords only, as sosr(key=value) (column 6)"),
        ("sosr(*[1])", "loss 'sosr(*[1])': sosr takes keywords only, as sosr(key=value) (column 6)"),
        ("sosr(**{})", "loss 'sosr(**{})': sosr takes keywords only, as sosr(key=value) (column 8)"),
        ("sosr(beta=1, beta=1)", "loss 'sosr(beta=1, beta=1)': sosr has 'beta' twice (column 14)"),
        ("sosr(beta=x)", "loss 'sosr(beta=x)': sosr(beta=...) must be a literal (column 11)"),
        ("sosr(beta=2*3)", "loss 'sosr(beta=2*3)': sosr(beta=...) must be a literal (column 11)"),
        ("sosr(beta=True)", "loss 'sosr(beta=True)': sosr: beta must be a finite number, got True (column 11)"),
        ("sosr(beta='1')", "loss \"sosr(beta='1')\": sosr: beta must be a finite number, got '1' (column 11)"),
        ("sosr(beta=1e999)", "loss 'sosr(beta=1e999)': sosr: beta must be a finite number, got 1e999 (column 11)"),
        ("sosr(beta=None)", "loss 'sosr(beta=None)': sosr: beta must be a finite number, got None (column 11)"),
        ("sosr(beta=-1)", "loss 'sosr(beta=-1)': sosr: beta must be at least 0, got -1 (column 1)"),
        ("sosr(threshold=0)", "loss 'sosr(threshold=0)': sosr: threshold must be in (0, 1], got 0 (column 1)"),
        ("sosr(threshold=1.5)", "loss 'sosr(threshold=1.5)': sosr: threshold must be in (0, 1], got 1.5 (column 1)"),
        ("cp(weight=-.1)", "loss 'cp(weight=-.1)': cp: weight must be at least 0, got -0.1 (column 1)"),
        ("maxsup(start=-1)", "loss 'maxsup(start=-1)': maxsup: start must be at least 0, got -1 (column 1)"),
        ("maxsup(end=-1)", "loss 'maxsup(end=-1)': maxsup: end must be at least 0, got -1 (column 1)"),
        ("ols(alpha=2)", "loss 'ols(alpha=2)': ols: alpha must be in [0, 1], got 2 (column 1)"),
        (
            "ols(init='unifrom')",
            "loss \"ols(init='unifrom')\": ols: unknown init 'unifrom': did you mean 'uniform'? (column 1)",
        ),
        (
            "ols(num_classes=3)",
            "loss 'ols(num_classes=3)': ols has no keyword 'num_classes' (column 5): known: alpha, init",
        ),
        ("ce(end=1)", "loss 'ce(end=1)': ce: end must be in [0, 1), got 1 (column 1)"),
        ("ce(end='a')", "loss \"ce(end='a')\": ce: end must be a finite number or None, got 'a' (column 8)"),
        ("ce(end=0.2)+maxsup", "maxsup takes the place of label smoothing and is defined for smoothing 0 only"),
        ("focal(gamma=-1)", "loss 'focal(gamma=-1)': focal: gamma must be at least 0, got -1 (column 1)"),
        ("focal(schedule=5)", "focal: schedule must be 53 (gamma 5 where p < 0.2, else 3) or None, got 5 (column 1)"),
        ("focal(gamma=2, schedule=53)", "focal: schedule=53 has gammas of its own, 5 and 3: leave out gamma=2"),
        ("focal(schedule=53.0)", "focal: schedule must be an integer of at most 64 bits or None, got 53.0 (column 16)"),
        ("focal(smoothing=1)", "focal: smoothing must be in [0, 1), got 1"),
        ("logitnorm(temperature=0)", "logitnorm: temperature must be more than 0, got 0"),
        ("logitnorm(smoothing=-1)", "logitnorm: smoothing must be in [0, 1), got -1"),
        ("relaxation(alpha=0)", "relaxation: alpha must be in (0, 1), got 0"),
        ("relaxation(alpha=1)", "relaxation: alpha must be in (0, 1), got 1"),
        ("relaxation(smoothing=0.1)", "relaxation has no keyword 'smoothing' (column 12): known: alpha"),
        ("tfkd(alpha=1.1)", "tfkd: alpha must be in [0, 1], got 1.1"),
        ("tfkd(temperature=0)", "tfkd: temperature must be more than 0, got 0"),
        ("tfkd(correct=0)", "tfkd: correct must be in (0, 1], got 0"),
        ("tfkd(multiplier=-1)", "tfkd: multiplier must be at least 0, got -1"),
        ("tfkd(form='papr')", "tfkd: unknown form 'papr': did you mean 'paper'?"),
        ("logit_penalty(weight=-1)", "logit_penalty: weight must be at least 0, got -1"),
        ("logit_penality", "unknown loss 'logit_penality' (column 1): did you mean 'logit_penalty'?"),
        ("margin(margin=-1)", "margin: margin must be at least 0, got -1"),
        ("margin(weight=-1)", "margin: weight must be at least 0, got -1"),
        ("zipf(weight=-1)", "zipf: weight must be at least 0, got -1"),
        ("zipf(power=-1)", "zipf: power must be at least 0, got -1"),
        ("zipf(ranks='dense')", "zipf: ranks='dense' counts votes of the positions of the model's last feature map, "),
        ("zipf(ranks='logit')", "zipf: unknown ranks 'logit': did you mean 'logits'?"),
        ("ls_parts(part='regularisation')", "ls_parts: unknown part 'regularisation': did you mean 'regularization'?"),
        ("ls_parts(weight=-1)", "ls_parts: weight must be at least 0, got -1"),
        ("ce(smoothing=1)", "loss 'ce(smoothing=1)': ce: smoothing must be in [0, 1), got 1 (column 1)"),
        ("ce-sosr", "loss 'ce-sosr': terms are joined by + (column 1)"),
        ("ce.sosr", "loss 'ce.sosr': a term is name or name(key=value, ...) (column 1)"),
        ("ce+sosr()()", "loss 'ce+sosr()()': a term is name or name(key=value, ...) (column 4)"),
        ("ce+1", "loss 'ce+1': a term is name or name(key=value, ...) (column 4)"),
        ("__import__('os')", "loss \"__import__('os')\": unknown loss '__import__' (column 1): "),
        ("ce+", "loss 'ce+': not readable at its end: invalid syntax"),
        ("ce(", "loss 'ce(': not readable in column 3: '(' was never closed"),
        ("sosr(beta=1\n,bta=2)", "sosr has no keyword 'bta' (line 2, column 2): did you mean 'beta'?"),
        ("jsd(splits=2)+sosr", "sosr is defined for one prediction per image"),
        (
            "ce(smoothing=.1)+maxsup",
            "'ce(smoothing=.1)+maxsup': maxsup takes the place of label smoothing and is defined for smoothing 0 only",
        ),
        ("bce(class_weight='a')", "class_weight must be a finite number or None or a list of finite numbers, got 'a'"),
        (
            "jsd(splits=2.5)",
            "loss 'jsd(splits=2.5)': jsd: splits must be an integer of at most 64 bits, got 2.5 (column 12)",
        ),
    ],
)
def test_refused(text, message):
    with pytest.raises(ValueError) as caught:
        parse_loss(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "(" * 150,
        "-" * 190 + "1",
        "sosr(beta=" + "-" * 150 + "1)",
        "ce+" * 99 + "ce",
        "ce\0+sosr",
        "(" * 5000,
        "[" * 5000 + "]" * 5000,
        "sosr(beta=" + "[" * 150 + "]" * 150 + ")",
        "sosr(beta=" + "-" * 9000 + "1)",
        "+".join(["ce"] * 15000),
        "+" * 9000 + "ce",
        "ce" + "()" * 9000,
        "ce" + ".a" * 9000,
        "not " * 9000 + "ce",
        "lambda:" * 5000 + "ce",
        "ce if ce else " * 2000 + "ce",
        "sosr(beta=0x" + "f" * 20000 + ")",
        "jsd(splits=0x" + "f" * 20000 + ")",
        "bce(class_weight=0x" + "f" * 20000 + ")",
        "sosr(beta=" + "9" * 10000 + ")",
        "x" * 49000,
        "ce+" + "x" * 100000,
        "sosr(beta='\\ud800')",
        "\ud800",
        "sosr(beta='\\d')",
        "ce\x0c+x\x1cy",
        "ce\r\n+sosr(\r\rbad=1)",
        "sosr(beta=f'{1}')",
        "(ce:=sosr)",
        "yield ce",
        "await ce",
        "ce;sosr",
        "sosr(beta=(yield))",
        "*ce",
        "'ce'",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_hostile_text(text):
    with pytest.raises(ValueError) as caught:
        parse_loss(text)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_hostile_text_in_a_small_stack():
    """Threads have smaller stacks than the main one, and a crash of the interpreter is no ValueError."""
    failures = []

    def attempt():
        for text in ("-" * 190 + "1", "lambda:" * 99 + "ce", "-" * 5000 + "1", "+".join(["ce"] * 10000), "not " * 5000):
            try:
                parse_loss(text)
            except ValueError as error:
                failures.append(error)

    size = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert len(failures) == 5


def test_long_but_sensible_text():
    weights = [1.5e-05] * 2000
    assert parse_loss(f"bce(class_weight={weights})").base.keywords["class_weight"] == weights


FRAGMENTS = st.sampled_from(
    [*BASES, *PENALTIES, "threshold", "beta", "smoothing", "=", "+", "(", ")", ",", "0.5", "'a'"]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(string.printable, max_size=60), st.lists(FRAGMENTS).map("".join)))
@example("sosr(beta=1).a")
def test_any_text_is_read_or_refused(text):
    try:
        create_loss(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1


def numbers(low, high, **keywords):
    return st.one_of(st.floats(low, high, **keywords), st.integers(int(low), int(high)))


KEYWORDS = {
    "ce": {"smoothing": st.floats(0, 1, exclude_max=True), "end": st.none() | st.floats(0, 1, exclude_max=True)},
    "ols": {"alpha": numbers(0, 1), "init": st.sampled_from(["uniform", "zeros", "smoothing"])},
    "sosr": {"threshold": st.floats(0, 1, exclude_min=True), "beta": numbers(0, 1e6)},
    "maxsup": {"start": numbers(0, 1e6), "end": numbers(0, 1e6)},
    "cp": {"weight": numbers(0, 1e6)},
    "focal": {"gamma": numbers(0, 1e6), "smoothing": st.floats(0, 1, exclude_max=True)},
    "logitnorm": {"temperature": st.floats(1e-6, 1e6), "smoothing": st.floats(0, 1, exclude_max=True)},
    "relaxation": {"alpha": st.floats(1e-6, 1, exclude_max=True)},
    "tfkd": {"alpha": numbers(0, 1), "temperature": st.floats(1e-6, 1e6), "form": st.sampled_from(["code", "paper"])},
    "logit_penalty": {"weight": numbers(0, 1e6)},
    "margin": {"margin": numbers(0, 1e6), "weight": numbers(0, 1e6)},
    "zipf": {"weight": numbers(0, 1e6), "power": numbers(0, 9)},
    "ls_parts": {"part": st.sampled_from(["regularization", "amplification", "top"]), "weight": numbers(0, 1e6)},
    "bce": {"sum": st.booleans(), "class_weight": st.none() | st.lists(st.floats(0, 9), min_size=1, max_size=5)},
    "poly": {"epsilon": numbers(-9, 9)},
}


@st.composite
def written_terms(draw, name):
    chosen = draw(st.fixed_dictionaries({}, optional=KEYWORDS.get(name, {})))
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in chosen.items())})" if chosen else name


@st.composite
def written_losses(draw):
    base = draw(st.sampled_from([*OUR_BASES, "bce", "poly", None]))
    penalties = draw(st.lists(st.sampled_from([*PENALTIES]), unique=True, min_size=0 if base else 1))
    return " + ".join(draw(written_terms(name)) for name in ([base] if base else []) + penalties)


@settings(max_examples=150, deadline=None)
@given(written_losses())
def test_full_form_reads_back(text):
    try:
        spec = parse_loss(text)
    except ValueError as error:
        replaced = ("smoothing=" in text or "end=" in text) and any(name in text for name in REPLACES_SMOOTHING)
        assert replaced or ("logitnorm" in text and "+" in text), error
        return
    assert isinstance(spec, LossSpec)
    assert parse_loss(str(spec)) == spec
    assert str(parse_loss(str(spec))) == str(spec)
    assert create_loss(spec).full_form == str(spec)


@pytest.mark.parametrize("name", [*BASES, *PENALTIES])
def test_every_registered_name_reads_back(name):
    text = ARGUMENTS.get(name, name)
    assert parse_loss(str(parse_loss(text))) == parse_loss(text)
    assert name in INDEX_ONLY or str(parse_loss(text)).count(name) >= 1

"""The grammar of a loss, `base + penalty + penalty`, read with Python's own `ast` and nothing evaluated."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from sosr_timm.errors import one_line
from sosr_timm.losses.base import BASES, PENALTIES
from sosr_timm.losses.keywords import context_of, fit, keywords_of
from sosr_timm.registry import close_names

# Not defined together with label smoothing.
REPLACES_SMOOTHING = ("ols", "tfkd", "relaxation", "maxsup", "zipf", "margin", "ls_parts")
# Other names in the grammar: the term they mean, and its keywords.
ALIASES: dict[str, tuple[str, dict[str, object]]] = {"ls": ("ce", {"smoothing": 0.1})}
MAX_LENGTH = 1_000_000  # characters; a list of 1,000 class weights is about 10,000
# Names and signs, without numbers and commas; the longest sensible loss has about 60. Python's parser recurses, and in
# a thread with a small stack a deeply nested text would crash the interpreter instead of raising.
MAX_PIECES = 200
NUMBER = re.compile(r"\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
PIECE = re.compile(r"[^\W\d]\w*|[^\w\s,]")


@dataclass(frozen=True)
class TermSpec:
    """One term: its name and all its keywords, and which of those were given rather than left at their default."""

    name: str
    keywords: Mapping[str, object]
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def __str__(self) -> str:
        optional = optional_keywords(self.name)
        written = {key: value for key, value in self.keywords.items() if value is not None or key not in optional}
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in written.items())})"

    def having(self, **keywords: object) -> TermSpec:
        """The same term with other values for some keywords, which count as given."""
        return TermSpec(self.name, {**self.keywords, **keywords}, self.given | set(keywords))


@dataclass(frozen=True)
class LossSpec:
    """A loss as written: one base and any number of different penalties. `str()` gives the full form."""

    base: TermSpec
    penalties: tuple[TermSpec, ...] = ()

    def __str__(self) -> str:
        return "+".join(str(term) for term in (self.base, *self.penalties))


def parse_loss(text: str) -> LossSpec:
    """Read a loss such as `sosr`, `ols+sosr` or `ce+sosr(threshold=0.95, beta=1.0)+cp(weight=0.1)`.

    Args:
        text: terms joined by +, each `name` or `name(key=literal, ...)`; a penalty in front stands for `ce` + it, and
            `ls` for `ce(smoothing=0.1)`.

    Returns:
        the tree, with every default filled in.

    Raises:
        ValueError: one line that says what is wrong, in which column, and the nearest valid name.
    """
    if not isinstance(text, str):
        raise ValueError(f"a loss is a string such as 'ce+sosr', got {type(text).__name__}")
    terms, earlier = [], []
    for node in term_nodes(text):
        term, name = read_term(text, node)
        if name in earlier:
            raise fault(text, f"'{name}' appears twice", node)
        if term.name in BASES and terms:
            if terms[0].name in BASES:
                raise fault(text, f"two bases, '{earlier[0]}' and '{name}': a loss has one", node)
            raise fault(text, f"base '{name}' must come first: '{name}+{'+'.join(earlier)}'", node)
        terms.append(term)
        earlier.append(name)
    if terms[0].name in PENALTIES:
        terms.insert(0, default_term("ce"))
    spec = LossSpec(terms[0], tuple(terms[1:]))
    try:
        check_combination(spec, spec.base.keywords.get("smoothing", 0.0))
    except ValueError as error:
        raise fault(text, str(error)) from None
    return spec


def check_combination(spec: LossSpec, smoothing: float, multi_label: bool = False) -> None:
    """Refuse what no paper defines, naming what is defined.

    Raises:
        ValueError: such a combination.
    """
    names = [spec.base.name, *(term.name for term in spec.penalties)]
    replacing = [name for name in names if name in REPLACES_SMOOTHING]
    if replacing and (smoothing or (spec.base.name == "ce" and spec.base.keywords["end"])):
        raise ValueError(f"{replacing[0]} takes the place of label smoothing and is defined for smoothing 0 only")
    ours = [name for name in names if is_our_term(name)]
    single_label = [name for name in ours if name != "ce"] or ours
    if multi_label and single_label:
        raise ValueError(f"{single_label[0]} is defined for single-label targets only, not for multi-label ones")
    if spec.penalties and spec.base.name == "logitnorm":
        raise ValueError(
            f"logitnorm does not change when all logits of an image are scaled, so nothing would hold them against "
            f"{spec.penalties[0].name}: use it with another base"
        )
    if spec.penalties and spec.base.name == "jsd":
        raise ValueError(
            f"{spec.penalties[0].name} is defined for one prediction per image, not for the augmentation splits of "
            f"jsd: use it with ce, ols, bce, poly or asl"
        )


def default_term(name: str) -> TermSpec:
    """A term with every keyword at its default."""
    return TermSpec(name, {key: item.default for key, item in keywords_of(builder_of(name)).items()})


def builder_of(name: str):
    """The constructor of a base or penalty."""
    return BASES[name] if name in BASES else PENALTIES[name]


def is_our_term(name: str) -> bool:
    """Whether a term is a class of this package's kind; timm's losses are made by its factory."""
    return isinstance(builder_of(name), type)


def optional_keywords(name: str) -> set[str]:
    """Keywords of ours that are None by default. The full form leaves them out, so that one more changes no old one."""
    keywords = keywords_of(builder_of(name)) if is_our_term(name) else {}
    return {key for key, item in keywords.items() if item.default is None}


def term_nodes(text: str) -> list[ast.expr]:
    """The syntax tree's terms from left to right."""
    if not text.strip():
        raise ValueError("a loss is a string such as 'ce+sosr', got an empty one")
    if len(text) > MAX_LENGTH:
        raise fault(text, f"{len(text)} characters, more than {MAX_LENGTH}")
    if len(PIECE.findall(NUMBER.sub("", text))) > MAX_PIECES:
        raise fault(text, f"more than {MAX_PIECES} names and signs")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        line = "" if error.lineno in (None, 1) else f" line {error.lineno},"
        where = f"in{line} column {error.offset}" if error.offset else "at its end"
        raise fault(text, f"not readable {where}: {one_line(error.msg)}") from None
    except ValueError as error:
        raise fault(text, f"not readable: {one_line(error)}") from None
    except (MemoryError, RecursionError):
        raise fault(text, "not readable: too many terms or nested too deeply") from None
    nodes = []
    while isinstance(node, ast.BinOp):
        if not isinstance(node.op, ast.Add):
            raise fault(text, "terms are joined by +", node)
        nodes.append(node.right)
        node = node.left
    return [node, *reversed(nodes)]


def read_term(text: str, node: ast.expr) -> tuple[TermSpec, str]:
    """One term of the tree, checked against the constructor of its name, and the name as it was written."""
    call = isinstance(node, ast.Call)
    head = node.func if call else node
    if not isinstance(head, ast.Name):
        raise fault(text, "a term is name or name(key=value, ...)", node)
    name = head.id if head.id in {*BASES, *PENALTIES, *ALIASES} else head.id.lower()
    if name not in BASES and name not in PENALTIES and name not in ALIASES:
        raise fault(text, f"unknown loss '{shorten(head.id)}'", head, close_names(name, [*BASES, *PENALTIES, *ALIASES]))
    full_name, preset = ALIASES.get(name, (name, {}))
    term, builder = default_term(full_name).having(**preset), builder_of(full_name)
    if not call:
        return term, name
    if node.args:
        raise fault(text, f"{name} takes keywords only, as {name}(key=value)", node.args[0])
    known, given = keywords_of(builder), set()
    for item in node.keywords:
        if item.arg is None:
            raise fault(text, f"{name} takes keywords only, as {name}(key=value)", item.value)
        if item.arg not in known:
            raise fault(text, f"{name} has no keyword '{shorten(item.arg)}'", item, close_names(item.arg, known))
        if item.arg in given:
            raise fault(text, f"{name} has '{item.arg}' twice", item)
        given.add(item.arg)
        try:
            value = ast.literal_eval(item.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise fault(text, f"{name}({item.arg}=...) must be a literal", item.value) from None
        try:
            term = term.having(**{item.arg: fit(value, known[item.arg].annotation)})
        except ValueError as error:
            source = shorten(" ".join((ast.get_source_segment(text.strip(), item.value) or "").split()))
            raise fault(text, f"{name}: {item.arg} {error}, got {source}", item.value) from None
    if not context_of(builder) & {"multi_label"}:
        try:
            builder(**term.keywords)
        except ValueError as error:
            raise fault(text, f"{name}: {error}", node) from None
    return term, name


def fault(text: str, message: str, node: ast.AST | None = None, hint: str = "") -> ValueError:
    """An error of one line: the text, what is wrong, where, and what may have been meant."""
    where = ""
    if node is not None:
        line = text.strip().splitlines()[node.lineno - 1] if text.strip().splitlines() else ""
        column = len(line.encode()[: node.col_offset].decode(errors="ignore")) + 1
        where = f" (column {column})" if node.lineno == 1 else f" (line {node.lineno}, column {column})"
    return ValueError(f"loss {shorten(repr(text))}: {message}{where}{': ' + hint if hint else ''}")


def shorten(text: str, length: int = 80) -> str:
    """At most `length` characters, with dots where some were left out."""
    return text if len(text) <= length else f"{text[: length - 3]}..."

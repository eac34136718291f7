"""Whatever is typed or stands in a file ends in options or in one line, never in a traceback."""

import contextlib
import io
import json
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sosr_timm.errors import UserError
from sosr_timm.options.load import build, check_values, flatten, options_of, read_command_line, read_config
from sosr_timm.options.train import TrainOptions

OPTIONS = options_of(TrainOptions)
FLAGS = [name for option in OPTIONS.values() for name in (option.flag, *option.also)]
WORDS = st.one_of(
    st.sampled_from([*FLAGS, "--", "-", "--no-amp", "--aug", "-h", "--help", "-b3", "--lr=1"]),
    st.sampled_from(
        ["1", "-1", "0.5", "1e-3", "a=1", "a=(1,", "true", "nan", "", "float16", "=", "-1e5", "--=", "9" * 30]
    ),
    st.text(max_size=8),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.text(max_size=6)),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner), max_leaves=8
)
KEYS = st.one_of(st.sampled_from([*OPTIONS, "weight-decay", "lr "]), st.text(max_size=6), st.integers(), st.none())
YAML_SIGNS = [": ", ":", "\n", "  ", "- ", "[", "]", "{", "}", ",", "'", '"', "&a ", "*a", "<<", "? ", "|", ">", "#"]
YAML_TAGS = ["!!int ", "!!bool ", "!!float ", "!!timestamp ", "!!python/name:os ", "%YAML 1.1\n", "---\n", "...\n"]
YAML_VALUES = [
    "1",
    "1e3",
    "0x1f",
    "0o7",
    "1:30",
    ".nan",
    "-",
    "+",
    "_",
    "~",
    "=",
    "\t",
    "true",
    "2020-01-01",
    "\\",
    "\x00",
]
YAML_PIECES = st.sampled_from(["lr", "epochs", "mean", "model_kwargs", *YAML_SIGNS, *YAML_TAGS, *YAML_VALUES, "\u2028"])


def check_message(error):
    assert str(error) and len(str(error).splitlines()) == 1


def check_storable(values):
    flat = flatten(build(TrainOptions, values))
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=6))
@example(["--model-kwargs", "a=\ud800"])
def test_any_command_line(arguments):
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            values = read_command_line(TrainOptions, arguments)
    except UserError as error:
        check_message(error)
    except SystemExit as stopped:
        assert stopped.code == 0 and "--help" in output.getvalue()
    else:
        check_storable(values)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_mapping(content):
    try:
        values = check_values(OPTIONS, content, "run.yaml")
    except UserError as error:
        check_message(error)
    else:
        check_storable(values)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(YAML_PIECES, max_size=14).map("".join), st.text(max_size=30), st.binary(max_size=30)))
@example("a: !!int ''")
@example("? [a]\n: 1")
def test_any_file(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        try:
            values = read_config(TrainOptions, path)
        except UserError as error:
            check_message(error)
            assert str(path) in str(error)
        else:
            check_storable(values)

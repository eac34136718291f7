"""A YAML file of options: what it means, and what is refused with file, key and a way out."""

import pytest
import yaml

from sosr_timm.errors import UserError
from sosr_timm.options.load import build, check_values, flatten, load, options_of, read_config
from sosr_timm.options.train import TrainOptions


@pytest.fixture
def config(tmp_path):
    """Write a file, give back its path."""

    def write(content):
        path = tmp_path / "run.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def values(path):
    return read_config(TrainOptions, path)


def refusal(path):
    with pytest.raises(UserError) as caught:
        values(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


def test_values_become_what_their_options_are(config):
    text = """
        # a comment
        lr: 0.5
        weight-decay: 1e-4      # YAML 1.1 reads this as a text
        warmup_lr: 1
        epochs: 3
        amp: true
        loss: ols+sosr(beta=1.0)
        mean: [0.5, 1e-1, 1]
        decay_milestones: [3, 6]
        input_size: [3, 32, 32]
        torchcompile: null
        opt-kwargs: {betas: [0.9, 0.95], foreach: null, nested: {a: [1, [2]]}}
    """
    assert values(config(text)) == {
        "lr": 0.5,
        "weight_decay": 1e-4,
        "warmup_lr": 1.0,
        "epochs": 3,
        "amp": True,
        "loss": "ols+sosr(beta=1.0)",
        "mean": (0.5, 0.1, 1.0),
        "decay_milestones": (3, 6),
        "input_size": (3, 32, 32),
        "torchcompile": None,
        "opt_kwargs": {"betas": (0.9, 0.95), "foreach": None, "nested": {"a": (1, (2,))}},
    }
    assert type(values(config("warmup_lr: 1"))["warmup_lr"]) is float


def test_an_empty_file_gives_nothing(config):
    assert values(config("")) == {}
    assert values(config("# only a comment\n")) == {}
    assert values(config("---\n")) == {}
    assert values(config(b"\xef\xbb\xbflr: 0.1\n")) == {"lr": 0.1}, "a byte order mark is no key"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 3", ": unknown option 'epoch': did you mean 'epochs'"),
        ("xyzzy: 3", ": unknown option 'xyzzy': --help lists them all"),
        ("batch-sise: 3", ": unknown option 'batch-sise': did you mean 'batch_size'"),
        ("1: 2", ": unknown option '1': --help lists them all"),
        ('"a\\nb": 2', ": unknown option 'a b': --help lists them all"),
        ("epochs: '3'", ": epochs takes a whole number, not '3'"),
        ("epochs: 3.0", ": epochs takes a whole number, not 3.0"),
        ("epochs: true", ": epochs takes a whole number, not True"),
        ("epochs: null", ": epochs takes a whole number, not None"),
        ("epochs: 99999999999999999999", ": epochs takes a whole number, not 99999999999999999999"),
        ("lr: fast", ": lr takes a number or null, not 'fast'"),
        ("lr: yes", ": lr takes a number or null, not True"),
        ("lr: .nan", ": lr takes a number or null, not nan"),
        ("lr: 'inf'", ": lr takes a number or null, not 'inf'"),
        ("lr: [0.1]", ": lr takes a number or null, not [0.1]"),
        ("amp: 1", ": amp takes true or false, not 1"),
        ("amp: 'true'", ": amp takes true or false, not 'true'"),
        ("loss: no", ": loss takes a text or null, not False"),
        ("experiment: 7", ": experiment takes a text, not 7"),
        ("mean: 0.5", ": mean takes a list of any number of items, each a number or null, not 0.5"),
        ("mean: [a]", ": mean takes a list of any number of items, each a number or null, not ['a']"),
        ("scale: [0.5]", ": scale takes a list of 2 items, each a number, not [0.5]"),
        ("log_with: tensorboard", ": log_with takes a list of any number of items, each a text, not 'tensorboard'"),
        ("model_kwargs: [a]", ": model_kwargs takes key=value pairs of numbers, texts, lists and mappings, not ['a']"),
        ("amp_dtype: fp16", ": amp_dtype is one of 'float16', 'bfloat16', not 'fp16'"),
        ("dist_bn: x", ": dist_bn is one of 'broadcast', 'reduce', '', not 'x'"),
        ("interpolation: linear", ": interpolation is one of '', 'nearest', 'bilinear'"),
        ("- lr", ": contains a list, not 'option: value' lines"),
        ("lr", ": contains a str, not 'option: value' lines"),
        ("lr: 1\nepochs: 2\nlr: 3", ", line 3: not valid YAML ('lr' is given twice)"),
        ("model_kwargs:\n  a: 1\n  a: 2", ", line 3: not valid YAML ('a' is given twice)"),
        ("weight-decay: 1\nweight_decay: 1", ": option 'weight_decay' is given twice"),
        ("lr: 1\nepochs: [2", ", line 2: not valid YAML (expected ',' or ']', but got '<stream end>')"),
        ("lr: 1\n\tepochs: 2", ", line 2: not valid YAML (found character '\\t' that cannot start any token)"),
        ("lr: 1\n---\nlr: 2", ", line 2: not valid YAML (but found another document)"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(config, text, said):
    assert refusal(config(text)).startswith(said)


def test_a_missing_file_names_the_near_one(tmp_path):
    (tmp_path / "digits.yaml").write_text("lr: 1")
    assert refusal(tmp_path / "digit.yaml") == ": no such file: did you mean 'digits.yaml'?"
    assert refusal(tmp_path / "zzz") == ": no such file"
    assert (
        refusal(tmp_path / "hparam" / "digits.yaml")
        == f": no such file (the directory {tmp_path / 'hparam'} does not exist)"
    )


def test_a_path_that_is_no_readable_file(tmp_path, config):
    assert refusal(tmp_path).startswith(": cannot be read (")
    assert refusal(config("lr: 1") / "below").startswith(": cannot be read (")
    assert refusal(config(b"\x80\x04\x95pickle\x00")).startswith(": cannot be read ('utf-8' codec")
    assert refusal(config("lr: 1".encode("utf-16"))).startswith(": cannot be read (")
    assert refusal(config("lr: \x00")).startswith(": not valid YAML (unacceptable character #x0000")
    assert refusal(tmp_path / ("x" * 300)).startswith(": cannot be read (")


def test_what_a_run_stores_gives_the_same_options_again(config):
    given = ["--opt-kwargs", "betas=(0.9,0.95)", "eps=1e-8", "--mean", "0.5", "--input-size", "3", "8", "8", "--amp"]
    options = load(TrainOptions, given).options
    assert options.optimizer.opt_kwargs == {"betas": (0.9, 0.95), "eps": 1e-8}
    text = yaml.safe_dump(flatten(options), sort_keys=False)
    again = build(TrainOptions, values(config(text)))
    assert again == options
    assert check_values(options_of(TrainOptions), flatten(options), "run") == {
        name: getattr(getattr(options, option.group), name) for name, option in options_of(TrainOptions).items()
    }

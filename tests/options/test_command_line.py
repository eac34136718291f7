"""The command line: timm's way of writing, abbreviations too, typos named, nothing given twice in silence."""

import pytest

from sosr_timm.errors import UserError
from sosr_timm.options.load import load, read_command_line
from sosr_timm.options.train import TrainOptions


def values(*arguments):
    return read_command_line(TrainOptions, list(arguments))


def refusal(*arguments):
    with pytest.raises(UserError) as caught:
        values(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_only_what_is_given_is_there():
    assert values() == {}
    assert values("--lr", "0.1", "--amp") == {"lr": 0.1, "amp": True}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "-b 32 -j 2 -vb 64 -c a.yaml",
            {"batch_size": 32, "workers": 2, "validation_batch_size": 64, "config": "a.yaml"},
        ),
        ("--batch-size=32", {"batch_size": 32}),
        ("--decay-rate 0.2", {"decay_rate": 0.2}),
        ("--dr 0.2", {"decay_rate": 0.2}),
        ("--lr 1e-3 --weight-decay .05", {"lr": 1e-3, "weight_decay": 0.05}),
        ("--head-init-bias -1", {"head_init_bias": -1.0}),
        ("--lr 1 --lr 2", {"lr": 2.0}),
        ("images", {"data": "images"}),
        ("--lr 1 images", {"lr": 1.0, "data": "images"}),
        ("images --lr 1", {"lr": 1.0, "data": "images"}),
        ("--data images images", {"data": "images"}),
        ("--mean 0.5 0.4 0.3 --std 1", {"mean": (0.5, 0.4, 0.3), "std": (1.0,)}),
        ("--input-size 3 32 32", {"input_size": (3, 32, 32)}),
        ("--scale 0.2 1", {"scale": (0.2, 1.0)}),
        ("--torchcompile", {"torchcompile": "inductor"}),
        ("--torchcompile eager", {"torchcompile": "eager"}),
        ("--torchcompile --amp", {"torchcompile": "inductor", "amp": True}),
        ("--amp --no-amp", {"amp": False}),
        ("--no-amp", {"amp": False}),
        ("--no-aug", {"no_aug": True}),
        ("--aug", {"no_aug": False}),
        ("--ddp-bb", {"no_ddp_bb": False}),
        ("--dist-bn=", {"dist_bn": ""}),
        ("--model-kwargs", {"model_kwargs": {}}),
        ("--batch 3", {"batch_size": 3}),
        ("--weight-d=0.5 --experim a", {"weight_decay": 0.5, "experiment": "a"}),
        ("--jsd", {"jsd_loss": True}),
        ("--jsd-l", {"jsd_loss": True}),
        ("--native-amp --local_rank 1 --local-rank=2", {"amp": True}),
        ("--amp-impl native --fuser nvfuser --torchscript --device-modules a b", {}),
        ("--loss ols+sosr(threshold=0.95,beta=1.0)", {"loss": "ols+sosr(threshold=0.95,beta=1.0)"}),
    ],
)
def test_how_flags_are_written(line, expected):
    assert values(*line.split()) == expected


def test_key_value_pairs_are_read_as_timm_reads_them():
    import argparse

    from timm.utils import ParseKwargs  # its action is the reference

    pairs = [
        "a=1",
        "b=(2,3)",
        "c=word",
        "d=1e-3",
        "e=None",
        "f=True",
        "g='x'",
        "h=a=b",
        "i=[1,2]",
        "j=",
        "k={'x': 1}",
        "l=1 2",
    ]
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-kwargs", nargs="*", action=ParseKwargs)
    theirs = parser.parse_args(["--model-kwargs", *pairs]).model_kwargs
    ours = values("--model-kwargs", *pairs)["model_kwargs"]
    assert ours == {**theirs, "i": (1, 2)}, "lists become tuples, as everywhere in the options"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--epoch 3", "ambiguous option '--epoch': it may be short for --epoch-repeats, --epochs"),
        ("--epoch=3", "ambiguous option '--epoch': it may be short for --epoch-repeats, --epochs"),
        ("--train x", "ambiguous option '--train': it may be short for --train-split, "),
        ("--epochz 3", "unknown option '--epochz': did you mean '--epochs'"),
        ("--batch_size 3", "unknown option '--batch_size': did you mean '--batch-size'"),
        ("--pretrain", "ambiguous option '--pretrain': it may be short for --pretrained, --pretrained-path"),
        ("--xyzzy", "unknown option '--xyzzy': --help lists them all"),
        ("one two", "unknown option 'two'"),
        ("--lr fast", "argument --lr: invalid float value: 'fast'"),
        ("--lr nan", "--lr takes a number or null, not nan"),
        ("--lr inf", "--lr takes a number or null, not inf"),
        ("--epochs 1.5", "argument --epochs: invalid int value: '1.5'"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--input-size 3 32", "argument --input-size: expected 3 arguments"),
        ("--scale 0.5", "argument --scale: expected 2 arguments"),
        ("--amp=yes", "argument --amp: ignored explicit argument 'yes'"),
        ("--amp-dtype fp16", "--amp-dtype is one of 'float16', 'bfloat16', not 'fp16'"),
        ("--model-kwargs a", "--model-kwargs: 'a' is not KEY=VALUE"),
        ("--model-kwargs =1", "--model-kwargs: '=1' is not KEY=VALUE"),
        ("--model-kwargs a=b'x'", "--model-kwargs takes key=value pairs"),
        ("--model-kwargs a={1}", "--model-kwargs takes key=value pairs"),
        ("--model-kwargs a=1e999", "--model-kwargs takes key=value pairs"),
        ("here --data there", "data is given twice: here and --data there"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(line, said):
    assert refusal(*line.split()).startswith(said)


def test_a_line_break_in_an_argument_makes_no_second_line():
    assert refusal("--bogus\nerror:forged") == "unknown option '--bogus error:forged': --help lists them all"
    assert refusal("--model-kwargs", "a\nb").startswith("--model-kwargs: 'a b' is not KEY=VALUE")


def test_a_literal_that_python_cannot_take_stays_a_text():
    deep = "(" * 5000
    assert values("--model-kwargs", f"a={deep}")["model_kwargs"] == {"a": deep}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "lr: 0.5\nepochs: 7\namp: true\nno_aug: true\nmodel_kwargs: {a: 1, b: 2}\nmean: [0.1, 0.2, 1]\ndata: there\n"
    )
    return str(path)


def test_the_file_beats_the_defaults(config):
    loaded = load(TrainOptions, ["--config", config])
    options = loaded.options
    assert (options.schedule.lr, options.schedule.epochs, options.model.amp) == (0.5, 7, True)
    assert options.schedule.lr_base == 0.1, "what nobody gives keeps its default"
    assert loaded.command_line == {"config": config}
    assert loaded.config["mean"] == (0.1, 0.2, 1.0)


def test_the_command_line_beats_the_file(config):
    given = ["--lr", "0.1", "--no-amp", "--aug", "--model-kwargs", "a=3", "--mean", "0.9", "--data", "here"]
    loaded = load(TrainOptions, ["-c", config, *given])
    options = loaded.options
    assert (options.schedule.lr, options.schedule.epochs) == (0.1, 7)
    assert options.model.amp is False and options.augmentation.no_aug is False
    assert options.model.model_kwargs == {"a": 3}, "one value replaces the other, as in timm"
    assert options.model.mean == (0.9,)
    assert options.data.data == "here"
    assert loaded.config["amp"] is True


def test_the_order_on_the_command_line_does_not_matter(config):
    before = load(TrainOptions, ["--lr", "0.1", "--config", config]).options
    assert before == load(TrainOptions, ["--config", config, "--lr", "0.1"]).options

"""Every option with extreme values: accepted, or refused in one line that names option, value and range."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sosr_timm.errors import UserError
from sosr_timm.options.fields import COMMAND_LINE, options_of
from sosr_timm.options.load import check_values, load, read_config
from sosr_timm.options.ranges import Form, Items, Range
from sosr_timm.options.train import TrainOptions
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.consistency import check_options
from tests.data.images import class_folders
from tests.options.flags import FIXTURES, PROGRAMS, declared, timm_flags
from tests.training.harness import SMALL, train_here

PAIRS = [(program, name) for program in PROGRAMS for name in declared(program)]
INTEGERS = st.sampled_from([0, 1, -1, 2, 7, 255, 256, 1000, 10**6, 10**9, 2**62, -(2**62), 2**70])
NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 1e-9, 0.5, 1.5, 2.0, 99.0, 1e9, -1e9, 1e18, float("nan"), float("inf")])
TEXTS = st.sampled_from(["", " ", ".", "..", "a/b", "²", "²s", "0", "-1", "600s", "x" * 5000, "\n", "\0", "None"])
SCALARS = {int: INTEGERS, float: NUMBERS, str: TEXTS, bool: st.booleans()}


def extremes(option):
    scalar = SCALARS[option.kind.scalar]
    if option.kind.pairs:
        return st.dictionaries(TEXTS, st.one_of(INTEGERS, NUMBERS, TEXTS), max_size=2)
    if option.kind.many:
        return st.lists(scalar, min_size=option.kind.count or 0, max_size=option.kind.count or 4)
    return scalar


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PAIRS).flatmap(lambda pair: st.tuples(st.just(pair), extremes(declared(pair[0])[pair[1]]))))
def test_an_extreme_value_is_in_range_or_refused_in_one_line(case):
    (program, name), value = case
    option = declared(program)[name]
    for where, label in ((COMMAND_LINE, option.flag), ("run.yaml", f"{name}")):
        try:
            taken = option.check(value, where)
        except UserError as error:
            message = str(error)
            assert label in message and len(message.splitlines()) == 1
            assert where == COMMAND_LINE or message.startswith("run.yaml: ")
        else:
            items = taken if option.kind.many else (taken,)
            assert option.allowed is None or all(item in option.allowed for item in items)
            assert option.choices is None or taken in option.choices


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_number_has_a_range_or_is_listed_here(program):
    free = {"head_init_bias", "db_init_bias"}
    without = {
        name
        for name, option in declared(program).items()
        if option.kind.scalar in (int, float) and not option.kind.pairs and option.allowed is None
    }
    assert without <= free


@pytest.mark.parametrize("program", ["train", "validate"])
def test_every_default_of_timm_is_in_range(program):
    options = options_of(PROGRAMS[program])
    for names, theirs in ((flag.names, flag) for flag in timm_flags(program).values()):
        option = options.get(names[0].lstrip("-").replace("-", "_"))
        if option is not None and theirs.default is not None:
            option.check(theirs.default, COMMAND_LINE)


def test_timms_args_file_is_in_range():
    assert read_config(TrainOptions, FIXTURES / "timm_args.yaml")


def test_the_options_of_an_old_run_are_not_held_to_todays_ranges():
    stored = {"recount": 0, "weight_decay": -1.0}
    known = options_of(TrainOptions)
    assert check_values(known, stored, "options.yaml", ranges=False) == stored
    with pytest.raises(UserError, match=r"options.yaml: recount must be from 1 to 100, not 0"):
        check_values(known, stored, "options.yaml")


def test_ranges_say_what_they_hold():
    cases = {
        "at least 0 and below 1": (Range(0, below=1), [0, 0.99], [-0.1, 1]),
        "above 0 and at most 1": (Range(above=0, most=1), [1e-9, 1], [0, 1.1]),
        "0 or from 2 to 16": (Range(2, 16, also=(0,)), [0, 2, 16], [1, 17]),
        "at least 1": (Range(least=1), [1, 2**62], [0]),
        "at most 2 values in rising order": (Items(most=2, rising=True), [(), (1, 2)], [(1, 1), (1, 2, 3)]),
        "values that do not fall": (Items(not_falling=True), [(1, 1, 2)], [(2, 1)]),
        "digits": (Form(r"\d+", "digits"), ["12"], ["²", "", "1\n"]),
    }
    for words, (allowed, inside, outside) in cases.items():
        assert str(allowed) == words
        assert all(value in allowed for value in inside) and not any(value in allowed for value in outside)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--scale 0.5 2", "--scale 0.5 2: the random resized crop"),
        ("--aa rand-m9-foo", "'foo' is not a part of the policy 'rand'"),
        ("--aa rand-m9-tfoo", "'tfoo' is not a part"),
        ("--aa augmix-w0", "'w0' is not a part"),
        ("--lr-noise 0.4 0.9 --lr-noise-pct 1e-9", "--lr-noise-pct 1e-09: at least"),
        ("--stop-epoch 3 --start-epoch 3", "--stop-epoch 3 ends the run before"),
        ("--data here --data-dir there", "two data directories"),
    ],
)
def test_options_that_contradict_each_other(line, said):
    options = load(TrainOptions, line.split()).options
    with pytest.raises(UserError) as caught:
        check_options(options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["rand-m9-mstd0.5-inc1", "rand-m7-n3-p0.5-tweights", "augmix-m5-w4-d2", "v0", "3a"])
def test_names_of_policies_that_are_right(name):
    check_options(load(TrainOptions, ["--aa", name]).options)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--cutout 9", "--cutout 9: the square is larger than the images (8 x 8)"),
        ("--crop-padding 8", "--crop-padding 8: crops of 8 x 8 could miss the image"),
        ("--cutmix 1 --cutmix-minmax 0.5 0.55", "--cutmix-minmax 0.5 0.55: a box in images of 8 pixels"),
        ("--in-chans 4 --aa v0", "--aa v0: its operations take images of mode L or RGB, not RGBA"),
        ("--input-size 7 8 8", "images have 1 to 4"),
        ("--opt adamw --opt-betas 0.9", "--opt-betas 0.9: --opt adamw has 2 betas"),
        ("--opt sgd --opt-betas 0.9 0.99", "--opt sgd has no betas"),
        ("--opt adahessian", "second derivatives"),
        ("--opt foo_sgd", "unknown optimizer 'foo_sgd'"),
        ("--torchcompile nothing", "--torchcompile nothing: unknown backend"),
        ("--min-lr 1", "--min-lr 1 is above the learning rate"),
        ("--lr-cycle-mul 0.5 --lr-cycle-limit 3 --cooldown-epochs 5", "--sched cosine has no rate in epoch"),
        ("--workers 1024 --loader workers", "--workers 1024: at most"),
        ("--aug-repeats 57", "--aug-repeats 57: the training set has only 56 images"),
        ("--img-size 8192 --crop-pct 0.05", "--crop-pct 0.05: images of 8192 x 8192"),
    ],
)
def test_what_data_and_model_rule_out_is_one_line(line, said, tmp_path):
    with pytest.raises(UserError) as caught:
        train_here(*SMALL, "--dry-run", "--output", tmp_path / "runs", *line.split())
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("line", ["--in-chans 2", "--in-chans 4", "--input-img-mode HSV --in-chans 3", "--drop 0.99"])
def test_the_ends_of_a_range_train(line, tmp_path):
    assert train_here(*SMALL, "--dry-run", "--output", tmp_path / "runs", *line.split()) == 0


def test_validate_checks_the_same_way():
    for line in ("--img-size 0", "--crop-pct 99", "--temperature 1", "--num-processes 0", "--input-img-mode I;16"):
        with pytest.raises(UserError, match=line.split()[0]):
            load(ValidateOptions, line.split())


# What starts processes, takes seconds, or only says what is loaded.
NOT_TRIED = {"workers", "num_classes", "img_size", "train_img_sizes", "train_resize", "input_size", "num_processes"}
TRIED = [
    name
    for name, option in declared("train").items()
    if option.kind.scalar in (int, float) and not option.kind.pairs and name not in NOT_TRIED
]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.sampled_from(TRIED).flatmap(lambda name: st.tuples(st.just(name), extremes(declared("train")[name]))))
def test_a_dry_run_with_an_extreme_value_runs_or_ends_in_one_line(tmp_path, case):
    name, value = case
    option = declared("train")[name]
    given = [str(item) for item in value] if option.kind.many else [str(value)]
    line = [option.flag, *given] if option.kind.many else [f"{option.flag}={given[0]}"]
    try:
        code = train_here(*SMALL, *line, "--dry-run", "--output", tmp_path / "runs")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert code == 0


def test_a_class_map_is_compared_with_the_images(tmp_path, capsys):
    root = class_folders(tmp_path / "data", splits=("train", "validation"), each=4)
    words = ["--data-dir", root, "--model", "cifar_resnet20", "--img-size", "8", "--batch-size", "2", "--workers", "0"]
    words += ["--warmup-epochs", "0", "--epochs", "1", "--log-interval", "9", "--output", tmp_path / "runs"]
    (tmp_path / "typo.txt").write_text("cats\ndog\n")
    with pytest.raises(UserError, match="no image has the class 'cats'; did you mean 'cat'"):
        train_here(*words, "--class-map", tmp_path / "typo.txt", "--dry-run")
    (tmp_path / "more.txt").write_text("cat\ndog\nzebra\n")
    assert train_here(*words, "--class-map", tmp_path / "more.txt", "--val-split", "train") == 0
    text = capsys.readouterr().out
    assert "1 of its classes have no image, the first is 'zebra'" in text
    assert "the evaluation images are the training images" in text

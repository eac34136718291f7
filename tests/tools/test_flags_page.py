"""docs/flags.md says of every flag of timm's what becomes of it here, and timm's own args.yaml is a file of options."""

import argparse

import pytest
import yaml

from sosr_timm.checkpoints.run_selection import output_folder
from sosr_timm.errors import UserError
from sosr_timm.options.load import load, read_command_line
from sosr_timm.options.train import TrainOptions
from tests.options.flags import FIXTURES, PROGRAMS, declared
from tools.flags_page import (
    DIFFERENT,
    FOREIGN,
    MISSING,
    OTHER_NAME,
    PAGE,
    REFUSED,
    SAME,
    older_flags,
    page,
    rows,
    timm_flags,
)

ARGS = FIXTURES / "timm_args.yaml"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tools.flags_page"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_flag_of_timm_stands_in_the_table_once(program):
    content = yaml.safe_load((FIXTURES / "timm_flags.yaml").read_text(encoding="utf-8"))
    listed = {row["flag"] for row in content[program]}
    if program == "train":
        listed |= {name for row in content["added_by_1_0_31"] for name in row["flag"].split()}
    found = [row.flag.names[0] for row in rows(f"{program}.py")]
    assert sorted(found) == sorted(listed)
    section = page().split(f"\n## {program}.py\n")[1].split("\n## ")[0]
    for flag in listed:
        assert section.count(f"\n| `{flag}`") == 1, flag


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_status_is_what_the_program_does(program):
    groups = PROGRAMS[program]
    known = {name: option for option in declared(program).values() for name in (option.flag, *option.also)}
    content = yaml.safe_load((FIXTURES / "timm_flags.yaml").read_text(encoding="utf-8"))[program]
    kinds = {row["flag"]: row["type"] for row in content}
    for row in rows(f"{program}.py"):
        name = row.flag.names[0]
        if not name.startswith("-"):
            assert row.status in (SAME, OTHER_NAME) and read_command_line(groups, ["x"])
        elif row.status in (SAME, DIFFERENT, OTHER_NAME):
            assert any(spelling in known for spelling in row.flag.names)
        elif row.status == FOREIGN:
            values = {"switch": []}.get(kinds.get(name, ""), ["1"])
            assert name.lstrip("-").replace("-", "_") not in read_command_line(groups, [name, *values])
        else:
            with pytest.raises(UserError) as caught:
                read_command_line(groups, [name])
            expected = f"{name}: {row.note}" if row.status == REFUSED else f"unknown option '{name}': "
            assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_flag_of_timm_is_missing(program):
    missing = {row.flag.names[0] for row in rows(f"{program}.py") if row.status == MISSING}
    assert not missing, f"{program}.py has no word for {missing}"


def test_flags_of_older_versions_are_there_too():
    assert {"--native-amp", "--apex-amp", "--amp-impl", "--jsd", "--bn-tf"} <= set(older_flags("train.py"))
    assert set(older_flags("validate.py")) == {"--amp-impl", "--apex-amp", "--native-amp"}


def test_flags_of_another_meaning_are_marked():
    status = {row.flag.names[0]: row.status for row in rows("train.py")}
    for flag in ("--epoch-repeats", "--train-num-samples", "--val-num-samples", "--train-steps-per-epoch", "--resume"):
        assert status[flag] == DIFFERENT, flag


def timms_parser() -> argparse.ArgumentParser:
    """A parser with timm's flags, types and defaults, as its training script makes one."""
    parser = argparse.ArgumentParser(add_help=False)
    scalars = {"str": str, "int": int, "float": float}
    for row in yaml.safe_load((FIXTURES / "timm_flags.yaml").read_text(encoding="utf-8"))["train"]:
        names = sorted((row["flag"], *row.get("also", ())), key=lambda name: name != "--decay-rate")
        more = {name: row[name] for name in ("nargs", "const") if name in row}
        if row["type"] == "switch":
            parser.add_argument(*names, action="store_true", default=False)
        elif row["type"] == "key=value...":
            parser.add_argument(*names, nargs="*", default=row["default"])
        else:
            kind = scalars[row["type"]]
            default = kind(row["default"]) if isinstance(row["default"], str) else row["default"]
            parser.add_argument(*names, type=kind, default=default, **more)
    return parser


COMMAND = (
    "--data-dir imagenet --model resnet50 -b 256 --amp --amp-dtype bfloat16 --channels-last --opt lamb --lr 5e-3 "
    "--weight-decay 0.02 --sched cosine --epochs 300 --warmup-epochs 5 --aa rand-m7-mstd0.5-inc1 --mixup 0.1 "
    "--cutmix 1.0 --aug-repeats 3 --drop-path 0.05 --smoothing 0.0 --crop-pct 0.95 --mean 0.5 0.5 0.5 -j 8 --pin-mem "
    "--experiment a2 --bce-loss --bce-target-thresh 0.2 --model-ema --train-img-sizes 160 224 --input-size 3 224 224"
)


def written_by_timm() -> str:
    """What timm's train.py writes into args.yaml for a command line."""
    return yaml.safe_dump(timms_parser().parse_args(COMMAND.split()).__dict__, default_flow_style=False)


def test_the_stored_file_is_what_timm_writes():
    assert ARGS.read_text(encoding="utf-8") == written_by_timm()


def test_a_file_that_timm_wrote_is_a_file_of_options(tmp_path):
    content = yaml.safe_load(ARGS.read_text(encoding="utf-8"))
    path = tmp_path / "args.yaml"
    options = load(TrainOptions, ["--config", str(ARGS), "--experiment", "mine"]).options
    assert options.data.data_dir == "imagenet" and options.data.workers == 8 and options.run.experiment == "mine"
    assert options.optimizer.batch_size == 256 and options.schedule.lr == 5e-3 and options.schedule.decay_rate == 0.1
    assert options.model.mean == (0.5, 0.5, 0.5) and options.model.input_size == (3, 224, 224)
    assert options.augmentation.aug_repeats == 3 and options.sizes.train_img_sizes == (160, 224)
    assert str(output_folder(options)) == "output/train"
    path.write_text(yaml.safe_dump({**content, "naflex_loader": True}))
    with pytest.raises(UserError, match=r"args.yaml: naflex_loader: NaFlex batches"):
        load(TrainOptions, ["--config", str(path)])
    path.write_text(yaml.safe_dump({**content, "train_img_size": 160}))
    with pytest.raises(UserError, match="unknown option 'train_img_size': did you mean 'train_img_sizes'"):
        load(TrainOptions, ["--config", str(path)])


def test_every_flag_of_the_list_has_a_name_and_a_program():
    assert set(timm_flags()) == {"train.py", "validate.py"}
    assert all(flag.names for flags in timm_flags().values() for flag in flags)

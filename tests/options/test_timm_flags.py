"""Flags of timm that are no options: refused, without effect, or read as another option; files of every version."""

import pytest
import yaml

from sosr_timm.distributed.processes import run_main
from sosr_timm.errors import UserError
from sosr_timm.options.load import foreign_of, load, other_meanings, read_command_line, read_config, refusals_of
from sosr_timm.options.timm_flags import Foreign
from sosr_timm.options.train import TrainOptions
from tests.options.flags import FIXTURES, PROGRAMS, declared, timm_flags

REFUSED = [(program, name) for program, groups in PROGRAMS.items() for name in refusals_of(groups)]
FOREIGN = [(program, name) for program, groups in PROGRAMS.items() for name in foreign_of(groups)]
FILES = sorted((FIXTURES / "timm_args").glob("*.yaml"))


@pytest.mark.parametrize(("program", "name"), REFUSED)
def test_what_is_refused_is_one_line_and_exit_code_2(program, name, capsys):
    flag = f"--{name.replace('_', '-')}"
    reason = refusals_of(PROGRAMS[program])[name].reason
    for words in ([flag], ["folder", flag], [flag + "="]):
        assert run_main(lambda words=words: load(PROGRAMS[program], words)) == 2
        said = capsys.readouterr().err
        assert said.endswith(f"error: {flag}: {reason}\n") and said.count("\n") == 1


@pytest.mark.parametrize(("program", "name"), REFUSED)
def test_a_file_may_hold_timms_default_of_what_is_refused(program, name, tmp_path):
    default = refusals_of(PROGRAMS[program])[name].default
    path = tmp_path / "args.yaml"
    path.write_text(yaml.safe_dump({name: default}))
    assert read_config(PROGRAMS[program], path) == {}
    path.write_text(yaml.safe_dump({name: [7]}))
    with pytest.raises(UserError) as caught:
        read_config(PROGRAMS[program], path)
    assert str(caught.value) == f"{path}: {name}: {refusals_of(PROGRAMS[program])[name].reason}"


@pytest.mark.parametrize(("program", "name"), REFUSED + FOREIGN)
def test_defaults_are_timms_and_a_reason_names_options_that_exist(program, name):
    groups = PROGRAMS[program]
    entry = (refusals_of(groups) | foreign_of(groups))[name]
    flags = {flag.lstrip("-").replace("-", "_"): theirs for flag, theirs in timm_flags(program).items()}
    if name in flags:
        assert entry.default == flags[name].default
    known = declared(program)
    assert name not in known and "\n" not in entry.reason and 10 < len(entry.reason) < 200
    becomes = entry.becomes if isinstance(entry, Foreign) else {}
    assert set(becomes) <= set(known)
    words = {word.strip(";:,.")[2:].replace("-", "_") for word in entry.reason.split() if word.startswith("--")}
    assert words <= set(known) | set(refusals_of(groups))


def given(flag: Foreign, name: str) -> list[str]:
    return [f"--{name.replace('_', '-')}", *{0: (), 1: ("7",)}.get(flag.nargs, ("7", "8"))]


@pytest.mark.parametrize(("program", "name"), FOREIGN)
def test_a_flag_that_is_no_option_is_read_with_a_line(program, name):
    flag = foreign_of(PROGRAMS[program])[name]
    loaded = load(PROGRAMS[program], given(flag, name))
    assert loaded.command_line == flag.becomes and loaded.config == {}
    kind = f"is read as {flag.means}" if flag.becomes else "has no effect"
    assert loaded.notes == [f"--{name.replace('_', '-')} {kind}: {flag.reason}"]


@pytest.mark.parametrize(("program", "name"), FOREIGN)
def test_in_a_file_only_another_value_than_timms_default_is_named(program, name, tmp_path):
    flag = foreign_of(PROGRAMS[program])[name]
    path = tmp_path / "args.yaml"
    for value in (flag.default, None):
        path.write_text(yaml.safe_dump({name: value}))
        loaded = load(PROGRAMS[program], ["--config", str(path)])
        assert loaded.notes == [] and loaded.config == {}
    path.write_text(yaml.safe_dump({name: True if flag.nargs == 0 else "x"}))
    loaded = load(PROGRAMS[program], ["--config", str(path)])
    assert len(loaded.notes) == 1 and loaded.notes[0].startswith(f"{path}: {name} ")
    assert loaded.config == flag.becomes


def test_what_a_file_says_itself_stays(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text("bn_tf: true\nbn_eps: 0.1\nbn_momentum: null\namp: false\nnative_amp: true\n")
    assert read_config(TrainOptions, path) == {"bn_eps": 0.1, "bn_momentum": 0.01, "amp": True}
    path.write_text("native_amp: 'yes'\n")
    with pytest.raises(UserError, match=r"args\.yaml: native_amp takes true or false, not 'yes'"):
        read_config(TrainOptions, path)


def test_flags_with_the_same_reason_share_a_line(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text("naflex_max_seq_len: 5\nnaflex_loss_scale: none\ntorchscript: true\n")
    first, second = load(TrainOptions, ["-c", str(path)]).notes
    assert first.startswith(f"{path}: naflex_max_seq_len, naflex_loss_scale have no effect: it belongs to --naflex")
    assert second.startswith(f"{path}: torchscript has no effect: torch has deprecated")


def test_the_refused_flag_stays_refused_beside_those_that_are_ignored():
    with pytest.raises(UserError, match="--naflex-loader: NaFlex batches"):
        read_command_line(TrainOptions, ["--naflex-max-seq-len", "7", "--naflex-loader"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_every_version_is_a_file_of_options(path):
    """Each file holds the flags of one version of timm's train.py, with some values of a user."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    loaded = load(TrainOptions, ["--config", str(path)])
    options = loaded.options
    assert options.optimizer.batch_size == content["batch_size"] == 64
    assert options.schedule.lr == content["lr"] and options.schedule.epochs == content["epochs"]
    assert options.data.data_dir == "images" or options.data.data == "images"
    assert (options.augmentation.mixup, options.augmentation.aa) == (content["mixup"], content["aa"])
    assert options.model.amp == any(content.get(name) for name in ("amp", "native_amp", "apex_amp"))
    assert options.loss.jsd_loss == content.get("jsd", content.get("jsd_loss"))
    assert options.augmentation.color_jitter == 0.0, "null means off"
    assert options.sizes.train_steps_per_epoch == content.get("train_batches_per_epoch")
    unknown = set(content) - set(declared("train")) - set(foreign_of(TrainOptions)) - set(refusals_of(TrainOptions))
    assert unknown <= {"train_batches_per_epoch"}
    assert all(note.startswith(f"{path}: ") for note in loaded.notes)


def test_the_versions_say_what_they_no_longer_do():
    said = {path.stem: [note.split(": ")[1] for note in load(TrainOptions, ["-c", str(path)]).notes] for path in FILES}
    assert said == {
        "0.4.12": ["native_amp is read as --amp"],
        "0.6.12": ["apex_amp is read as --amp", "aot_autograd has no effect"],
        "0.8.0": [],
        "0.9.0": ["torchscript has no effect"],
        "0.9.16": [],
        "1.0.9": ["amp_impl has no effect", "fuser has no effect"],
        "1.0.15": [],
        "1.0.22": ["naflex_max_seq_len has no effect"],
        "1.0.26": [],
        "1.0.31": [],
    }


@pytest.mark.parametrize("name", ["color_jitter", "hflip", "drop", "mixup", "experiment", "output", "val_split"])
def test_null_switches_off(name, tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text(f"{name}: null\n")
    off = "" if isinstance(declared("train")[name].default, str) else 0.0
    assert read_config(TrainOptions, path) == {name: off}


def test_null_is_no_value_where_nothing_is_off(tmp_path):
    path = tmp_path / "args.yaml"
    for name in ("epochs", "model", "scale", "batch_size", "workers", "eval_metric"):
        path.write_text(f"{name}: null\n")
        with pytest.raises(UserError, match=f"{name} takes"):
            read_config(TrainOptions, path)


def test_a_key_may_be_any_spelling_of_its_flag(tmp_path):
    path = tmp_path / "args.yaml"
    path.write_text("train_batches_per_epoch: 9\ndr: 0.5\n")
    assert read_config(TrainOptions, path) == {"train_steps_per_epoch": 9, "decay_rate": 0.5}
    path.write_text("train_batches_per_epoch: 9\ntrain_steps_per_epoch: 9\n")
    with pytest.raises(UserError, match="option 'train_steps_per_epoch' is given twice"):
        read_config(TrainOptions, path)


def test_an_option_of_another_meaning_is_named_where_it_is_used():
    options = load(TrainOptions, ["--epoch-repeats", "2", "--val-num-samples", "8", "--resume", "auto"]).options
    assert other_meanings(options) == [
        "--val-num-samples 8: evaluate on this many samples of the split, spread over it evenly. In timm: the length "
        "of a data set that is a stream; ignored for others",
        "--epoch-repeats 2.0: passes over the training set per epoch; 0: one. In timm: passes over a data set "
        "that is a stream; ignored for others",
    ]
    assert other_meanings(load(TrainOptions, []).options) == []

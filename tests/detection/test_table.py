"""Table 8 of the SOSR paper: its rows are commands, and their runs become records."""

import pytest

from experiments.groups import grouped
from experiments.metrics import metric_of
from experiments.starting import starting_job
from experiments.table_file import read_table
from sosr_timm.errors import UserError
from sosr_timm.runner.collect import record_of
from sosr_timm.runner.jobs import Places, plan_jobs
from sosr_timm.runner.record import load_record, save_record
from sosr_timm.runner.start import check_data, command_of
from tests.detection.harness import detect

SMALL = {
    **{"model": "resnet10t", "pretrained": False, "model_kwargs": {"channels": (8, 8, 16, 16), "stem_width": 8}},
    **{"pyramid_channels": 8, "min_side": 64, "max_side": 64, "epochs": 1, "workers": 0, "pictures": 0},
}


def test_a_row_starts_from_the_run_of_another_table(tmp_path):
    table = read_table("sosr_t8")
    jobs = plan_jobs(table, table.rows, 1, {}, Places(tmp_path, tmp_path))
    assert [job.epochs for job in jobs] == [30, 30]
    first = starting_job(jobs[1])
    assert first.table.name == "sosr_t3" and first.row.key == {"model": "resnet50", "method": "sosr"}
    weights = first.folder.checkpoints / "best" / "model.safetensors"
    words = command_of(["run"], {}, lambda job: weights if job.row.start else None)
    assert words(jobs[0])[1:3] == ["--model", "torchvision:resnet50"]
    assert words(jobs[1])[words(jobs[1]).index("--model") + 1].endswith(first.name)


def test_a_finished_run_becomes_a_record_of_the_table(voc, tmp_path):
    table = read_table("sosr_t8")
    changes = {**SMALL, "data_dir": str(voc)}
    (job,) = plan_jobs(table, table.rows[:1], 1, changes, Places(tmp_path / "runs", tmp_path / "records"))
    check_data([job])
    assert detect(*command_of([], changes)(job)) == 0
    save_record(record_of(job), job.record)
    record = load_record(job.record)
    assert record.conditions["epochs"] == 1 and len(record.curve) == 1
    assert record.run.last["map_11point"] == record.curve[0]
    groups, unmatched = grouped(table, [record], {})
    assert not unmatched and len(groups) == 2
    mean = groups[1].mean(table.rows[0], metric_of("map"), "last")
    assert mean.value == record.curve[0] and mean.n == 1


def test_what_only_train_py_has_is_refused(tmp_path):
    table = read_table("sosr_t8")
    with pytest.raises(UserError, match="sosr_t8: sosr-detect has no --train-num-samples"):
        plan_jobs(table, table.rows, 1, {"train_num_samples": 5}, Places(tmp_path, tmp_path))
    (job,) = plan_jobs(table, table.rows[:1], 1, {}, Places(tmp_path, tmp_path))
    with pytest.raises(UserError, match="where is VOC"):
        check_data([job])

"""The Hugging Face Trainer with the callback does what the plain loop does, and resumes exactly."""

import json
import shutil

import pytest
import torch

from sosr_timm import ResumableSampler, create_loss
from tests.integrations.task import (
    BATCH,
    BATCHES,
    CLASSES,
    COMBINATIONS,
    EPOCHS,
    SEED,
    Recorder,
    Samples,
    assert_same_state,
    batch_size,
    make_model,
    make_optimizer,
    plain_loop,
)

transformers = pytest.importorskip("transformers")

from sosr_timm.integrations.transformers import LossCallback  # noqa: E402


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = make_model()

    def forward(self, features, labels=None):
        return {"logits": self.model(features)}


class Trainer(transformers.Trainer):
    def _get_train_sampler(self, train_dataset=None):
        return ResumableSampler(self.train_dataset, seed=SEED, num_replicas=1)


class Stop(transformers.TrainerCallback):
    """Ends the run as a crash does, after a number of updates."""

    def __init__(self, updates: int):
        self.updates = updates

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.updates:
            raise ConnectionAbortedError


def trainer_of(folder, loss, *callbacks, checkpoint=None, **options):
    defaults = {
        "per_device_train_batch_size": batch_size(),
        "num_train_epochs": EPOCHS,
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_steps": 1,
    }
    args = transformers.TrainingArguments(
        folder,
        dataloader_drop_last=True,
        max_grad_norm=0.0,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        **{**defaults, **options},
    )
    model = Classifier()
    optimizer = make_optimizer(model)
    callback = LossCallback(loss, checkpoint)
    return Trainer(
        model,
        args,
        train_dataset=Samples(("features", "labels")),
        eval_dataset=Samples(("features", "labels")),
        compute_loss_func=callback.compute_loss,
        callbacks=[callback, *callbacks],
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
    )


def fit(folder, spec, *callbacks, resume=None, **options):
    """Train in this process, until `Stop` says otherwise; returns the model, the loss and the parts of its batches."""
    loss = create_loss(spec, num_classes=CLASSES)
    recorder = Recorder(loss)
    trainer = trainer_of(folder, loss, *callbacks, **options)
    try:
        trainer.train(resume_from_checkpoint=resume)
    except ConnectionAbortedError:
        assert callbacks
    return trainer.model.model, loss, recorder.parts


@pytest.mark.parametrize("spec", COMBINATIONS)
@pytest.mark.parametrize("evaluation", ["no", "epoch"])
def test_two_epochs_equal_the_plain_loop(tmp_path, spec, evaluation):
    model, loss, parts = fit(tmp_path, spec, eval_strategy=evaluation)
    expected, plain_loss, plain_model = plain_loop(spec)
    assert parts == expected
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)


STEPS = {"save_strategy": "steps", "save_steps": 1}


@pytest.mark.parametrize(
    ("saving", "killed", "saved"),
    [
        *((STEPS, killed, killed) for killed in (2, BATCHES, BATCHES + 1)),
        ({"save_strategy": "epoch"}, BATCHES + 2, BATCHES),
    ],
)
def test_a_run_that_was_killed_continues_exactly(tmp_path, saving, killed, saved):
    spec = COMBINATIONS[2]
    fit(tmp_path, spec, Stop(killed), **saving)
    model, loss, parts = fit(tmp_path, spec, resume=True, **saving)
    expected, plain_loss, plain_model = plain_loop(spec)
    assert parts == expected[saved:]
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)


def test_a_run_that_ended_in_the_middle_of_an_epoch_continues_exactly(tmp_path):
    spec = COMBINATIONS[0]
    fit(tmp_path, spec, **STEPS, max_steps=BATCHES + 2)
    _, loss, parts = fit(tmp_path, spec, resume=True, **STEPS)
    expected, plain_loss, _ = plain_loop(spec)
    assert parts == expected[BATCHES + 2 :]
    assert_same_state(loss, plain_loss)


def test_accumulated_batches_give_the_gradient_of_the_large_batch(tmp_path):
    spec = "ce+sosr(threshold=0.5)+cp"
    model, *_ = fit(
        tmp_path, spec, per_device_train_batch_size=BATCH // 4, gradient_accumulation_steps=4, max_steps=BATCHES
    )
    *_, expected = plain_loop(spec, epochs=1)
    assert_same_state(model, expected, rtol=1e-5, atol=1e-6)


def test_mixed_labels_are_weighted_by_rows(tmp_path):
    callback = LossCallback(create_loss("ce+sosr"))
    logits, labels = torch.randn(6, CLASSES), torch.rand(6, CLASSES).softmax(dim=1)
    whole = callback.loss(logits, labels)
    parts = [callback.compute_loss((logits[i : i + 2],), labels[i : i + 2], labels.numel()) for i in (0, 2, 4)]
    torch.testing.assert_close(sum(parts), whole)
    assert callback.compute_loss(logits, labels).equal(whole)


def test_batches_without_a_label_have_a_loss_of_zero():
    callback = LossCallback(create_loss("ce", ignore_index=-100))
    logits, labels = torch.randn(3, CLASSES), torch.tensor([-100, -100, 1])
    whole = callback.compute_loss({"logits": logits}, labels, 1)
    assert whole.equal(callback.loss(logits[2:], labels[2:]))
    assert callback.compute_loss({"logits": logits[:2]}, labels[:2], torch.tensor(0)) == 0


def test_evaluations_within_an_epoch_are_no_forgotten_end_of_it(tmp_path, recwarn):
    _, loss, _ = fit(tmp_path, COMBINATIONS[2], eval_strategy="steps", eval_steps=2)
    assert_same_state(loss, plain_loop(COMBINATIONS[2])[1])
    assert not [warning for warning in recwarn if "end_epoch" in str(warning.message)]


def test_a_stream_takes_its_progress_from_the_steps(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(Samples(("features", "labels")))

    loss = create_loss("ols+maxsup", num_classes=CLASSES)
    ended = []
    loss.end_epoch = lambda *arguments: ended.append(trainer.state.global_step)
    trainer = trainer_of(tmp_path, loss, max_steps=BATCHES + 2)
    trainer.train_dataset = Stream()
    trainer.train()
    assert ended == [BATCHES + 1]  # the last batch of a stream is not full
    assert loss.penalties["maxsup"].weight.item() == pytest.approx(0.1 + 0.1 * (BATCHES + 1) / (BATCHES + 2))


def test_a_second_training_discards_the_counts_of_the_first(tmp_path):
    loss = create_loss("ols", num_classes=CLASSES)
    with pytest.raises(ConnectionAbortedError):
        trainer_of(tmp_path, loss, Stop(3)).train()
    assert loss.base.correct_count.sum() > 0
    with pytest.raises(ConnectionAbortedError):
        trainer_of(tmp_path, loss, Stop(0)).train()
    assert loss.base.correct_count.sum() == 0


def test_a_checkpoint_from_elsewhere_is_named_to_the_callback(tmp_path):
    spec, saving = COMBINATIONS[0], STEPS
    fit(tmp_path / "first", spec, Stop(4), **saving)
    moved = shutil.move(tmp_path / "first" / "checkpoint-4", tmp_path / "moved")
    with pytest.raises(ValueError, match=r"training does not resume from .*checkpoint-4.*checkpoint=PATH"):
        fit(tmp_path / "second", spec, resume=moved, **saving)
    fit(tmp_path / "second", spec, Stop(4), **saving, logging_steps=2)  # the checkpoint of another run
    with pytest.raises(ValueError, match=r"training does not resume from .*checkpoint-4.*checkpoint=PATH"):
        fit(tmp_path / "second", spec, resume=moved, **saving)
    _, loss, _ = fit(tmp_path / "second", spec, resume=moved, checkpoint=moved, **saving)
    assert_same_state(loss, plain_loop(spec)[1])


def test_a_checkpoint_without_the_loss_is_refused(tmp_path):
    fit(tmp_path, "ols", Stop(4), **STEPS)
    (tmp_path / "checkpoint-4" / "loss.safetensors").unlink()
    with pytest.raises(ValueError, match=r"checkpoint-4 has no loss.safetensors"):
        fit(tmp_path, "ols", resume=True, **STEPS)


def test_the_state_of_another_loss_is_refused(tmp_path):
    fit(tmp_path, "ols", Stop(4), **STEPS)
    with pytest.raises(ValueError, match=r"saved with another loss than ce\(.*\)\+maxsup"):
        fit(tmp_path, "ce+maxsup", resume=True, **STEPS)


def test_a_trial_of_a_search_is_not_saved_and_says_so(tmp_path):
    class Search(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            state.is_hyper_param_search = True

    with pytest.warns(UserWarning, match=r"the state of the loss is not saved"):
        fit(tmp_path, "ols", Search(), save_strategy="epoch", num_train_epochs=1)
    assert not list(tmp_path.rglob("loss.safetensors"))


def test_a_logged_nan_does_not_hide_the_checkpoint(tmp_path):
    fit(tmp_path, "ols", Stop(4), **STEPS)
    record = tmp_path / "checkpoint-4" / "trainer_state.json"
    state = json.loads(record.read_text())
    state["log_history"][0]["loss"] = float("nan")
    record.write_text(json.dumps(state))
    fit(tmp_path, "ols", resume=True, **STEPS)


@pytest.mark.parametrize("options", [{"label_smoothing_factor": 0.1}, {"enable_jit_checkpoint": True}])
def test_options_that_act_beside_the_loss_are_refused(tmp_path, options):
    (name,) = options
    trainer = trainer_of(tmp_path, create_loss("ce"))
    for option, value in options.items():
        setattr(trainer.args, option, value)
    with pytest.raises(ValueError, match=name):
        trainer.train()


def test_a_batch_without_labels_is_refused():
    with pytest.raises(ValueError, match="no 'labels'"):
        LossCallback(create_loss("ce")).compute_loss((torch.zeros(2, 3),), None)

"""Lightning's Trainer with the callback does what the plain loop does, and resumes exactly."""

import contextlib
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from sosr_timm import ResumableSampler, create_loss
from tests.integrations.task import (
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

lightning = pytest.importorskip("lightning.pytorch")

from lightning.pytorch.callbacks import Callback, ModelCheckpoint  # noqa: E402

from sosr_timm.integrations.lightning import LossCallback, SamplerCallback  # noqa: E402


class Classifier(lightning.LightningModule):
    def __init__(self, spec: str, validates: bool = False):
        super().__init__()
        self.model, self.loss = make_model(), create_loss(spec, num_classes=CLASSES)
        self.validates = validates

    def training_step(self, batch, index):
        return self.loss(self.model(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("validation", self.loss(self.model(batch[0]), batch[1]))

    def configure_optimizers(self):
        return make_optimizer(self.model)

    def train_dataloader(self):
        return DataLoader(Samples(), batch_size(), sampler=self.sampler, drop_last=True)

    def val_dataloader(self):
        return DataLoader(Samples(), 16) if self.validates else []


class Stop(Callback):
    """Ends the run as a crash does, after a number of batches."""

    def __init__(self, batches: int):
        self.batches = batches

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.batches:
            raise ConnectionAbortedError


def run(folder, module, *callbacks, resume=None, max_epochs=EPOCHS, **options):
    """Train a module in this process, until `Stop` says otherwise."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        trainer = lightning.Trainer(
            max_epochs=max_epochs,
            callbacks=[SamplerCallback(module.sampler), *callbacks],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(item, ModelCheckpoint) for item in callbacks),
            default_root_dir=folder,
            **options,
        )
        with contextlib.suppress(ConnectionAbortedError):
            trainer.fit(module, ckpt_path=resume)
    return module


def fit(folder, spec, *callbacks, validates=False, **options):
    """Train with a loss that is an attribute of the module; returns the module and the parts of its batches."""
    module = Classifier(spec, validates)
    module.sampler = ResumableSampler(Samples(), seed=SEED)
    recorder = Recorder(module.loss)
    return run(folder, module, LossCallback(), *callbacks, **options), recorder.parts


@pytest.mark.parametrize("spec", COMBINATIONS)
@pytest.mark.parametrize("validates", [False, True])
def test_two_epochs_equal_the_plain_loop(tmp_path, spec, validates):
    module, parts = fit(tmp_path, spec, validates=validates)
    expected, loss, model = plain_loop(spec)
    assert parts == expected
    assert_same_state(module.loss, loss)
    assert_same_state(module.model, model)


def test_validations_within_an_epoch_are_no_forgotten_end_of_it(tmp_path, recwarn):
    module, _ = fit(tmp_path, COMBINATIONS[2], validates=True, val_check_interval=2)
    assert_same_state(module.loss, plain_loop(COMBINATIONS[2])[1])
    assert not [warning for warning in recwarn if "end_epoch" in str(warning.message)]


AT_BATCHES = {"every_n_train_steps": 1, "save_top_k": -1}
AT_EPOCH_END = {"every_n_epochs": 1, "save_top_k": -1, "save_on_train_epoch_end": True}
AFTER_VALIDATION = {"every_n_epochs": 1, "save_top_k": -1, "save_on_train_epoch_end": False}


@pytest.mark.parametrize(
    ("saving", "killed", "saved"),
    [
        *((AT_BATCHES, killed, killed) for killed in range(1, EPOCHS * BATCHES)),
        (AT_EPOCH_END, BATCHES, BATCHES),
        (AT_EPOCH_END, BATCHES + 2, BATCHES),
        (AFTER_VALIDATION, BATCHES + 2, BATCHES),
    ],
)
def test_a_run_that_was_killed_continues_exactly(tmp_path, saving, killed, saved):
    spec, validates = COMBINATIONS[2], saving is AFTER_VALIDATION
    fit(tmp_path, spec, ModelCheckpoint(tmp_path, "{step}", **saving), Stop(killed), validates=validates)
    module, parts = fit(tmp_path, spec, resume=tmp_path / f"step={saved}.ckpt", validates=validates)
    expected, loss, model = plain_loop(spec)
    assert parts == expected[saved:]
    assert_same_state(module.loss, loss)
    assert_same_state(module.model, model)


def test_a_loss_outside_the_module_is_saved_and_restored(tmp_path):
    spec = COMBINATIONS[2]
    loss = create_loss(spec, num_classes=CLASSES)

    class Beside(Classifier):
        def __init__(self):
            super().__init__(spec)
            del self.loss

        def training_step(self, batch, index):
            return loss(self.model(batch[0]), batch[1])

    def train(resume=None, *callbacks):
        module = Beside()
        module.sampler = ResumableSampler(Samples(), seed=SEED)
        return run(tmp_path, module, LossCallback(loss), *callbacks, resume=resume)

    train(None, ModelCheckpoint(tmp_path, "{step}", **AT_BATCHES), Stop(4))
    loss.load_state_dict(create_loss(spec, num_classes=CLASSES).state_dict())
    module = train(tmp_path / "step=4.ckpt")
    _, expected, model = plain_loop(spec)
    assert_same_state(loss, expected)
    assert_same_state(module.model, model)


def test_max_steps_alone_give_the_progress(tmp_path):
    module, parts = fit(tmp_path, "ce+maxsup", max_epochs=-1, max_steps=BATCHES + 2)
    assert len(parts) == BATCHES + 2
    assert module.loss.penalties["maxsup"].weight.item() == pytest.approx(0.1 + 0.1 * BATCHES / (BATCHES + 2))


def test_a_module_without_a_loss_is_refused(tmp_path):
    module = Classifier("ce")
    module.loss, module.sampler = torch.nn.CrossEntropyLoss(), ResumableSampler(Samples())
    with pytest.raises(ValueError, match="Classifier contains no loss made by create_loss"):
        run(tmp_path, module, LossCallback())


def test_buffers_that_others_keep_from_ddp_stay_kept(tmp_path):
    module = Classifier("ols+maxsup")
    module._ddp_params_and_buffers_to_ignore = ["model.weight"]
    LossCallback().setup(None, module, "fit")
    ignored = set(module._ddp_params_and_buffers_to_ignore)
    assert {"model.weight", "loss.base.probability_sum", "loss.penalties.maxsup.weight"} < ignored
    assert {name.split(".")[0] for name in ignored - {"model.weight"}} == {"loss"}

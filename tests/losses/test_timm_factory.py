"""Registration: timm knows our losses wherever it looks, and is otherwise what it was."""

import copy
import importlib
import inspect
import pickle
import subprocess
import sys

import pytest
import timm.loss
import timm.task
import timm.task.classification
import torch
from torch import nn

from sosr_timm.losses import PENALTIES, ComposedLoss, register_with_timm, unregister_from_timm
from sosr_timm.losses import timm_factory as registration
from tests.losses.cases import OUR_BASES

OURS = (*(name for name in (*OUR_BASES, *PENALTIES) if name != "ce"), "ls")
TIMMS = ("ce", "bce", "asl", "poly", "jsd", "twoway", "zlpr", "db")
DEVICE = torch.device("cpu")


def create(*args, **kwargs):
    return timm.loss.create_classification_loss(*args, **kwargs)


def assert_registered():
    assert timm.task.LOSS_TYPES is timm.loss.LOSS_TYPES
    assert timm.loss.LOSS_TYPES[: len(TIMMS)] == TIMMS and set(timm.loss.LOSS_TYPES[len(TIMMS) :]) == set(OURS)
    factory = timm.loss.create_classification_loss
    assert timm.task.create_classification_loss is factory
    assert timm.task.classification.create_classification_loss is factory
    assert timm.loss._loss_factory.create_classification_loss is factory
    for name in OURS:
        assert isinstance(factory(name), ComposedLoss)


@pytest.fixture(autouse=True)
def registered():
    register_with_timm()
    yield
    register_with_timm()
    assert_registered()


@pytest.mark.parametrize(
    "loss_type", [*OURS, "ols+sosr", "ce(smoothing=0.1)+sosr", "bce+maxsup(end=0.3)", "poly(epsilon=1.0)"]
)
def test_ours(loss_type):
    loss = create(loss_type)
    assert isinstance(loss, ComposedLoss)
    assert loss(torch.randn(4, 3), torch.tensor([0, 1, 2, 0])).isfinite()


@pytest.mark.parametrize(
    "arguments, kind",
    [
        ({}, nn.CrossEntropyLoss),
        ({"loss_type": "ce", "smoothing": 0.1}, timm.loss.LabelSmoothingCrossEntropy),
        ({"smoothing": 0.1, "soft_targets": True}, timm.loss.SoftTargetCrossEntropy),
        ({"multi_label": True}, timm.loss.BinaryCrossEntropy),
        ({"loss_type": "poly"}, timm.loss.PolyCrossEntropy),
    ],
)
def test_timms_own_stay_timms_own(arguments, kind):
    assert type(create(**arguments)) is kind


FAULTS = [
    {"loss_type": "brier"},
    {"loss_type": "sosrr"},
    {"loss_type": "SOSR"},
    {"loss_type": "ce", "multi_label": True},
    {"loss_type": "zlpr"},
    {"loss_type": "ce", "class_weight": [1.0]},
    {"loss_type": "asl", "soft_targets": True},
    {"loss_type": 3},
]


@pytest.mark.parametrize("arguments", FAULTS, ids=str)
def test_timms_messages_stay_as_they_are(arguments):
    with pytest.raises(ValueError) as ours:
        create(**arguments)
    unregister_from_timm()
    with pytest.raises(ValueError) as timms:
        create(**arguments)
    assert str(ours.value) == str(timms.value)


def test_a_faulty_loss_of_ours_has_our_message():
    with pytest.raises(ValueError, match="sosr has no keyword 'treshold'"):
        create("sosr(treshold=0.9)")
    with pytest.raises(ValueError, match="unknown loss 'brier'"):
        create("brier+sosr")


def test_signature_and_name_are_timms():
    factory = timm.loss.create_classification_loss
    assert "asl_gamma_neg" in inspect.signature(factory).parameters
    assert factory.__name__ == "create_classification_loss" and "loss_type" in factory.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'smooting'"):
        factory("sosr", smooting=0.1)
    assert pickle.loads(pickle.dumps(factory)) is factory


def test_arguments_reach_the_base():
    loss = create("bce+sosr", smoothing=0.1, class_weight=torch.tensor([1.0, 2.0]), bce_sum=True, bce_target_thresh=0.3)
    assert loss.full_form.startswith(
        "bce(smoothing=0.1, class_weight=[1.0, 2.0], pos_weight=None, target_thresh=0.3, sum=True)+sosr"
    )
    assert create("jsd()", jsd_splits=3).full_form == "jsd(smoothing=0.0, splits=3)"
    assert create("bce(sum=True)", bce_sum=True).full_form == create("bce(sum=True)", bce_sum=False).full_form
    assert create("sosr", False, 0.1).full_form.startswith("ce(smoothing=0.1)")


def test_arguments_of_other_types_are_ignored_as_timm_does():
    """timm's training script passes every argument, with the defaults of those that do not matter."""
    defaults = {name: item.default for name, item in inspect.signature(create_signature()).parameters.items()}
    assert create(**{**defaults, "loss_type": "sosr"}).full_form == create("sosr").full_form
    assert create("sosr", asl_gamma_neg=3.0, poly_epsilon=1.0).full_form == create("sosr").full_form


def create_signature():
    return timm.loss.create_classification_loss


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"class_weight": [1.0, 2.0]}, "Class and positive weights are only supported by bce"),
        ({"pos_weight": 2.0}, "Class and positive weights are only supported by bce"),
        ({"bce_sum": True}, "BCE target threshold and sum options only apply to the bce loss"),
        ({"class_counts": [1, 2], "num_samples": 3}, "Class counts are only used by the db loss"),
        ({"multi_label": True}, "is defined for single-label targets only"),
    ],
)
@pytest.mark.parametrize("loss_type", ["sosr", "ols", "ce+cp", "poly+sosr"])
def test_arguments_that_do_not_apply(loss_type, arguments, message):
    with pytest.raises(ValueError, match=message):
        create(loss_type, **arguments)


def test_conflicting_and_ill_typed_arguments():
    with pytest.raises(ValueError, match=r"poly_epsilon is given as an argument and, differently, in poly\(epsilon"):
        create("poly(epsilon=1.0)+sosr", poly_epsilon=3.0)
    with pytest.raises(ValueError, match="bce_sum must be True or False"):
        create("bce+sosr", bce_sum="yes")
    with pytest.raises(ValueError, match=r"smoothing is 0\.2 as an argument and 0\.1 in ce"):
        create("ce(smoothing=0.1)+sosr", smoothing=0.2)
    with pytest.raises(ValueError, match="takes the place of label smoothing"):
        create("maxsup", smoothing=0.1)
    with pytest.raises(ValueError, match="does not support Mixup/CutMix"):
        create("asl+sosr", soft_targets=True)


def test_soft_targets_are_read_with_their_smoothing():
    loss = create("sosr", smoothing=0.1, soft_targets=True)
    loss(torch.tensor([[9.0, 1, -1, 0]]), torch.tensor([[1.0, 0, 0, 0]]) * 0.9 + 0.025)
    assert loss.parts["selected"].item() == 1.0


def test_grammar_around_timms_own_multi_label():
    loss = create("bce(sum=True)", multi_label=True, smoothing=0.1)
    expected = create("bce", multi_label=True, smoothing=0.1, bce_sum=True)
    logits, target = torch.randn(4, 3), torch.eye(4)[:, :3]
    assert loss(logits, target).item() == expected(logits, target).item()


class Classifier(nn.Module):
    """The smallest model that timm's tasks accept."""

    def __init__(self):
        super().__init__()
        self.num_classes, self.in_chans = 3, 3
        self.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
        self.head = nn.Linear(3, 3)

    def forward(self, images):
        return self.head(images.mean((2, 3)))


def test_classification_task():
    task = timm.task.ClassificationTask(Classifier(), criterion_kwargs={"loss_type": "ols+sosr"}, device=DEVICE)
    result = task(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))
    result["loss"].backward()
    assert set(task.criterion.parts) == {"ols", "sosr", "selected"}


def test_distillation_task():
    student, teacher = Classifier(), Classifier()
    task = timm.task.LogitDistillationTask(
        student_model=student, teacher_model=teacher, criterion_kwargs={"loss_type": "sosr"}, device=DEVICE
    )
    assert isinstance(task.criterion, ComposedLoss)
    assert task(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))["loss"].isfinite()


def test_multi_label_task_refuses_ours():
    with pytest.raises(ValueError, match="sosr is defined for single-label targets only"):
        timm.task.MultiLabelClassificationTask(Classifier(), criterion_kwargs={"loss_type": "sosr"}, device=DEVICE)


def test_registering_again_changes_nothing():
    factory, types = timm.loss.create_classification_loss, timm.loss.LOSS_TYPES
    for _ in range(3):
        register_with_timm()
    assert timm.loss.create_classification_loss is factory and timm.loss.LOSS_TYPES is types


def test_unregistering_gives_timm_back():
    unregister_from_timm()
    original = timm.loss.create_classification_loss
    assert timm.loss.LOSS_TYPES == TIMMS and timm.loss.LOSS_TYPES is timm.task.LOSS_TYPES
    assert timm.loss.LOSS_TYPES is timm.loss._loss_factory.LOSS_TYPES
    for module in (timm.loss._loss_factory, timm.task, timm.task.classification):
        assert module.create_classification_loss is original
    assert original.__code__.co_filename.endswith("_loss_factory.py") and not hasattr(original, registration.ORIGINAL)
    with pytest.raises(ValueError, match="Unknown loss type 'sosr'"):
        original("sosr")
    unregister_from_timm()
    assert timm.loss.create_classification_loss is original


def test_tuple_of_multi_label_types_is_untouched():
    assert timm.loss.MULTI_LABEL_LOSS_TYPES is timm.task.MULTI_LABEL_LOSS_TYPES
    assert not set(timm.loss.MULTI_LABEL_LOSS_TYPES) & set(OURS)


@pytest.mark.parametrize(
    "name", ["sosr_timm", "sosr_timm.losses", "sosr_timm.losses.timm_factory", "timm.loss", "timm.loss._loss_factory"]
)
def test_reload(name):
    importlib.reload(importlib.import_module(name))
    importlib.import_module("sosr_timm.losses.timm_factory").register_with_timm()
    assert_registered()
    registration.unregister_from_timm()
    assert timm.loss.LOSS_TYPES == TIMMS
    assert not hasattr(timm.loss.create_classification_loss, registration.ORIGINAL)


def test_somebody_elses_wrapper_is_left_alone():
    ours = timm.loss.create_classification_loss

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    timm.loss.create_classification_loss = theirs
    try:
        unregister_from_timm()
        assert timm.loss.create_classification_loss is theirs
        assert isinstance(theirs("sosr"), ComposedLoss)
    finally:
        timm.loss.create_classification_loss = timm.loss._loss_factory.create_classification_loss


def test_loss_can_be_copied():
    loss = create("ols+sosr+maxsup")
    assert copy.deepcopy(loss).full_form == loss.full_form


def test_importing_is_cheap_and_enough():
    """One process: timm alone, then sosr_timm; `timm.task`, imported later, knows the losses too."""
    program = (
        "import sys, timm; before = set(sys.modules); import sosr_timm; print(*set(sys.modules) - before)\n"
        "import timm.loss, timm.task\n"
        "assert 'sosr' in timm.task.LOSS_TYPES and timm.task.LOSS_TYPES is timm.loss.LOSS_TYPES\n"
        "assert timm.task.classification.create_classification_loss('sosr').full_form\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    others = {name for name in done.stdout.split() if name.partition(".")[0] != "sosr_timm"}
    assert {".".join(name.split(".")[:2]) for name in others} == {"timm.loss"}, "importing the package costs more"

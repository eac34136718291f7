"""What counts and how much: against torch's cross entropy, against repeated and removed rows, and against loops."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from sosr_timm.losses import create_loss
from tests.losses import oracles
from tests.losses.cases import NO_CLASS_WEIGHT, OURS, TIMM_BASES, batch, names_in, takes_dense, targets_of

# They call losses with schedules and without the calls between epochs, which is what losses/test_reminder.py is about.
pytestmark = pytest.mark.filterwarnings("ignore:.*set_progress..? was never called")
CLASS_WEIGHT = [0.5, 2.0, 0.0, 1.0, 3.0]
REPEATS = torch.tensor([2, 0, 1, 3, 0, 1])
SHAPES = [(6,), (2, 3), (2, 3, 4), (1, 2, 3, 2)]


def spatial_batch(places, classes=5, seed=0, dtype=torch.float64):
    """Logits (N, K, d1, ...), class indices (N, d1, ...) and dense targets like the logits."""
    logits, index, dense = batch(int(np.prod(places)), classes, seed=seed, dtype=dtype)
    logits, dense = (tensor.reshape(*places, classes).movedim(-1, 1) for tensor in (logits, dense))
    return logits, index.reshape(places), dense


def gradient_of(value, logits):
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore_index", [None, -100, 255, 1])
@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT], ids=["same", "weighted"])
@pytest.mark.parametrize("places", SHAPES, ids=str)
def test_cross_entropy_is_torchs(places, class_weight, ignore_index, smoothing):
    logits, index, dense = spatial_batch(places)
    logits.requires_grad_()
    loss = create_loss("ce", smoothing=smoothing, class_weight=class_weight, ignore_index=ignore_index)
    weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    if ignore_index is not None:
        index.view(-1)[1::3] = ignore_index
    keyword = {} if ignore_index is None else {"ignore_index": ignore_index}
    expected = cross_entropy(logits, index, weight, label_smoothing=smoothing, **keyword)
    value = loss(logits, index)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient_of(value, logits), gradient_of(expected, logits))
    if ignore_index is None:
        expected = cross_entropy(logits, dense, weight)
        value = loss(logits, dense)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient_of(value, logits), gradient_of(expected, logits))


@pytest.mark.parametrize(
    "spec, kind", [(spec, kind) for spec in OURS for kind in ("index", "dense")[: 1 + takes_dense(spec)]]
)
def test_a_weight_of_n_is_the_sample_n_times(spec, kind):
    logits, index, dense = batch()
    target = {"index": index, "dense": dense}[kind]
    weighted, repeated = create_loss(spec), create_loss(spec)
    rows = torch.arange(6).repeat_interleave(REPEATS)
    for _ in range(2):
        here, there = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        value = weighted(here, target, REPEATS)
        expected = repeated(there[rows], target[rows])
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient_of(value, here), gradient_of(expected, there))
        torch.testing.assert_close(weighted.parts, repeated.parts)
        for loss in (weighted, repeated):
            loss.end_epoch()
        torch.testing.assert_close(weighted.state_dict(), repeated.state_dict())
    torch.testing.assert_close(weighted(logits, target, 0.3 * REPEATS), value, msg="only ratios of weights matter")


@pytest.mark.parametrize("spec", OURS)
@pytest.mark.parametrize("ignore_index", [-100, 255, 2])
def test_an_ignored_sample_is_one_that_is_not_there(spec, ignore_index):
    logits, index, _ = batch(rows=9)
    index[[1, 4, 8]] = ignore_index
    kept = index != ignore_index
    ignoring, without = create_loss(spec, ignore_index=ignore_index), create_loss(spec)
    logits.requires_grad_()
    value, expected = ignoring(logits, index), without(logits[kept], index[kept])
    torch.testing.assert_close(value, expected)
    gradient = gradient_of(value, logits)
    torch.testing.assert_close(gradient, gradient_of(expected, logits))
    assert not gradient[~kept].any()
    torch.testing.assert_close(ignoring.parts, without.parts)
    torch.testing.assert_close(ignoring.state_dict(), without.state_dict())


def test_penalties_and_fractional_weights_against_loops():
    logits, index, dense = batch(rows=8, scale=6.0)
    weight = torch.tensor([0.3, 0.0, 1.7, 0.2, 2.0, 1.0, 0.6, 0.9], dtype=torch.float64)
    one_row = {
        "ce": lambda row, label: oracles.cross_entropy(row, label)[0],
        "sosr": lambda row, label: oracles.sosr(row, label, 0.5)[0],
        "maxsup": lambda row, label: oracles.maxsup(row)[0],
        "cp": lambda row, label: oracles.confidence_penalty(row)[0],
        "selected": lambda row, label: oracles.sosr(row, label, 0.5)[2].mean(),
    }
    loss = create_loss("sosr(threshold=0.5, beta=1.0)+maxsup(start=1.0, end=1.0)+cp(weight=1.0)")
    for target in (index, dense):
        loss(logits, target, weight)
        rows, labels = logits.numpy(), target.numpy()
        for name, value in one_row.items():
            values = [value(rows[m : m + 1], labels[m : m + 1]) for m in range(8)]
            assert loss.parts[name].item() == pytest.approx(np.average(values, weights=weight.numpy()), rel=1e-12)


@pytest.mark.parametrize("kind", ["index", "dense"])
def test_class_weights_of_ols_against_loops(kind):
    logits, index, dense = batch()
    target = {"index": index, "dense": dense}[kind]
    loss = create_loss("ols(alpha=0.3, init='smoothing')", class_weight=torch.tensor(CLASS_WEIGHT))
    value = loss(logits.requires_grad_(), target).item()
    first = 0.9 * np.eye(5) + 0.1 / 5
    total, size = 0.0, 0.0
    for m in range(6):
        log_p = oracles.log_softmax(logits[m].tolist())
        labels = oracles.distribution(target[m].numpy(), 5)
        for k in range(5):
            soft = sum(labels[c] * first[c, k] for c in range(5))
            total -= CLASS_WEIGHT[k] * (0.3 * labels[k] + 0.7 * soft) * log_p[k]
        size += CLASS_WEIGHT[index[m]] if kind == "index" else 1.0
    assert value == pytest.approx(total / size, rel=1e-12)


def test_ols_with_uniform_soft_labels_is_label_smoothing_with_class_weights_too():
    logits, index, _ = batch()
    value = create_loss("ols(alpha=0.9)", class_weight=CLASS_WEIGHT)(logits, index)
    torch.testing.assert_close(value, create_loss("ce", smoothing=0.1, class_weight=CLASS_WEIGHT)(logits, index))


@pytest.mark.parametrize("penalty", ["sosr(threshold=0.3)", "maxsup", "cp"])
def test_class_weights_leave_penalties_alone(penalty):
    logits, index, dense = batch()
    plain, weighted = create_loss(penalty), create_loss(penalty, class_weight=CLASS_WEIGHT)
    name = next(iter(plain.penalties))
    for target in (index, dense):
        assert plain(logits, target).item() != weighted(logits, target).item()
        torch.testing.assert_close(plain.parts[name], weighted.parts[name])


@pytest.mark.parametrize("spec", OURS)
def test_where_nothing_counts_the_loss_is_zero(spec):
    """torch's cross entropy is not a number there, which one empty crop in a segmentation turns every weight into."""
    logits, index, dense = batch()
    loss = create_loss(spec, ignore_index=-100, num_classes=5)
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    for value in (
        loss(logits.requires_grad_(), torch.full_like(index, -100)),
        *(create_loss(spec)(logits, target, torch.zeros(6)) for target in targets_of(spec, index, dense)),
        create_loss("ce", class_weight=[0.0, 0.0, 0.0, 0.0, 1.0])(logits, torch.zeros(6, dtype=torch.long)),
    ):
        assert value.item() == 0.0
        assert torch.equal(gradient_of(value, logits), torch.zeros_like(logits))
    assert all(part.item() == 0.0 for part in loss.parts.values())
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("spec", OURS)
@pytest.mark.parametrize("places", SHAPES[1:], ids=str)
def test_positions_are_samples(spec, places):
    logits, index, dense = spatial_batch(places)
    flat_logits, flat_dense = (tensor.movedim(1, -1).reshape(-1, 5) for tensor in (logits, dense))
    weight = torch.rand(places, dtype=torch.float64)
    of_images = torch.rand(places[0], dtype=torch.float64)
    spread = of_images.reshape(-1, *[1] * (len(places) - 1)).expand(places)
    loss, flat = create_loss(spec), create_loss(spec)
    for target, rows in ((index, index.reshape(-1)), (dense, flat_dense))[: 1 + takes_dense(spec)]:
        torch.testing.assert_close(loss(logits, target), flat(flat_logits, rows))
        torch.testing.assert_close(loss(logits, target, weight), flat(flat_logits, rows, weight.reshape(-1)))
        torch.testing.assert_close(loss(logits, target, of_images), flat(flat_logits, rows, spread.reshape(-1)))


def test_gradients_of_a_segmentation_in_any_memory_layout():
    logits, index, _ = spatial_batch((2, 3, 4), dtype=torch.float32)
    loss = create_loss("ce+sosr(threshold=0.3)+maxsup+cp", ignore_index=-100).eval()
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = logits.clone(memory_format=layout).requires_grad_()
        loss(leaf, index).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def keywords_of(spec):
    """An index to ignore, and class weights where the base is defined with them."""
    of_classes = {} if names_in(spec) & set(NO_CLASS_WEIGHT) else {"class_weight": CLASS_WEIGHT}
    return {"ignore_index": -100, **of_classes}


@pytest.mark.parametrize("spec", OURS)
def test_compiles_whole(spec):
    torch._dynamo.reset()
    eager, loss = create_loss(spec, **keywords_of(spec)), create_loss(spec, **keywords_of(spec))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    logits, index, _ = spatial_batch((2, 3, 4), dtype=torch.float32)
    index[0, 0] = -100
    weight = torch.rand(2, 3, 4)
    value, expected = compiled(logits.requires_grad_(), index, weight), eager(logits, index, weight)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient_of(value, logits), gradient_of(expected, logits))
    torch.testing.assert_close(loss.parts, eager.parts)
    torch.testing.assert_close(loss.state_dict(), eager.state_dict())


@pytest.mark.parametrize("spec", OURS)
def test_no_synchronisation(spec):
    with FakeTensorMode():
        loss = create_loss(spec, **keywords_of(spec))
        logits = torch.randn(2, 5, 3, 3, requires_grad=True)
        loss(logits, torch.zeros(2, 3, 3, dtype=torch.long), torch.ones(2, 3, 3)).backward()


@pytest.mark.parametrize("spec", OURS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_float32_of_the_same_logits(spec, dtype):
    loss = create_loss(spec, **keywords_of(spec)).eval()
    logits, index, _ = spatial_batch((2, 3, 4), dtype=dtype)
    index[0, 0] = -100
    half, full = logits.clone().requires_grad_(), logits.float().requires_grad_()
    weight = torch.rand(2, 3, 4).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(half, index, weight)
    expected = loss(full, index, weight)
    assert value.dtype == torch.float32 and value.item() == expected.item()
    value.backward(), expected.backward()
    assert torch.equal(half.grad, full.grad.to(dtype))


def test_extreme_logits_of_ignored_samples_do_not_show():
    logits = torch.tensor([[1e4, -1e4, 0.0], [1.0, 0.0, 0.5]], requires_grad=True)
    for spec in ("ce+sosr+maxsup+cp", "ols+sosr"):
        value = create_loss(spec, ignore_index=-1)(logits, torch.tensor([-1, 0]))
        torch.testing.assert_close(value, create_loss(spec)(logits[1:], torch.tensor([0])))
        assert gradient_of(value, logits).isfinite().all()


def test_class_weights_are_no_state_and_keep_their_digits():
    loss = create_loss("ce", class_weight=[0.1, 0.7])
    assert not loss.state_dict()
    loss.half().to(torch.bfloat16).float()
    assert_allclose(loss.base.class_weight, [0.1, 0.7], rtol=0)
    logits, index = torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)
    loss(logits.to("meta"), index.to("meta"))
    assert loss.base.class_weight.is_meta


@pytest.mark.parametrize("spec", NO_CLASS_WEIGHT)
def test_bases_that_no_class_weight_is_defined_for(spec):
    with pytest.raises(ValueError, match=f"class_weight is not supported by {spec}, only by ce, focal, logitnorm, ols"):
        create_loss(spec, class_weight=CLASS_WEIGHT)


@pytest.mark.parametrize("spec, smoothing", [("focal(gamma=0)", 0.0), ("focal(gamma=0, smoothing=0.1)", 0.1)])
def test_class_weights_of_focal_are_those_of_cross_entropy(spec, smoothing):
    """With gamma 0 it is cross entropy: alpha of Lin et al. is the class weight."""
    logits, index, dense = batch()
    for target in (index, dense):
        torch.testing.assert_close(
            create_loss(spec, class_weight=CLASS_WEIGHT)(logits, target),
            create_loss("ce", smoothing, class_weight=CLASS_WEIGHT)(logits, target),
        )


@pytest.mark.parametrize("spec", TIMM_BASES)
def test_bases_of_timm_refuse_weights(spec):
    keywords = {"multi_label": spec in ("twoway", "zlpr", "db")}
    spec = {"jsd": "jsd(splits=2)", "db": "db(class_counts=[3.0, 2.0], num_samples=5)"}.get(spec, spec)
    with pytest.raises(ValueError, match="ignore_index is not supported by"):
        create_loss(spec, ignore_index=0, **keywords)
    with pytest.raises(ValueError, match=r"class_weight (is not supported by|of its own: write)"):
        create_loss(spec, class_weight=[1.0, 2.0], **keywords)
    loss = create_loss(spec, **keywords)
    with pytest.raises(ValueError, match="sample_weight is not supported by"):
        loss(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), torch.ones(4))


@pytest.mark.parametrize(
    "class_weight", [1.0, "1,2", [], ["a"], [True, 1.0], [[1.0], [2.0]], torch.tensor(2.0), {1, 2}]
)
def test_class_weights_are_a_list_of_numbers(class_weight):
    with pytest.raises(ValueError, match="class_weight must be a list or tensor of one number for each class"):
        create_loss("ce", class_weight=class_weight)


@pytest.mark.parametrize("class_weight", [[-1.0, 1.0], [float("nan"), 1.0], [float("inf"), 1.0], [0, 0]])
def test_class_weights_have_a_range(class_weight):
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0, and one above 0"):
        create_loss("ce", class_weight=class_weight)


def test_number_of_class_weights():
    with pytest.raises(ValueError, match="class_weight has 2 numbers for 3 classes"):
        create_loss("ce", num_classes=3, class_weight=[1, 2])
    for spec in ("ce", "ols"):
        with pytest.raises(ValueError, match="class_weight has 2 numbers, logits 3 classes"):
            create_loss(spec, class_weight=[1, 2])(torch.zeros(1, 3), torch.tensor([0]))


@pytest.mark.parametrize("ignore_index", [1.0, True, "255"])
def test_ignore_index_is_an_integer(ignore_index):
    with pytest.raises(ValueError, match="ignore_index must be an integer or None"):
        create_loss("ce", ignore_index=ignore_index)


def test_an_index_out_of_range_is_an_error_beside_the_one_to_ignore():
    loss = create_loss("ce", ignore_index=255)
    with pytest.raises((IndexError, RuntimeError)):
        loss(torch.zeros(2, 3), torch.tensor([255, 3]))


def test_ignore_index_is_not_for_dense_targets():
    with pytest.raises(ValueError, match="ignore_index is for class indices"):
        create_loss("ce", ignore_index=0)(torch.zeros(2, 3), torch.ones(2, 3) / 3)


@pytest.mark.parametrize(
    "weight, message",
    [
        ([1.0, 1.0], "sample_weight must be a tensor, got list"),
        (torch.ones(3), r"sample_weight must have shape \(2,\), got \(3,\)"),
        (torch.ones(2, 1), r"sample_weight must have shape \(2,\), got \(2, 1\)"),
        (torch.ones(2, dtype=torch.complex64), "sample_weight must hold real numbers"),
        (torch.tensor([1.0, -1.0]), "sample_weight must hold finite numbers of at least 0"),
        (torch.tensor([1.0, float("nan")]), "sample_weight must hold finite numbers of at least 0"),
        (torch.tensor([1.0, float("inf")]), "sample_weight must hold finite numbers of at least 0"),
    ],
)
def test_bad_sample_weights(weight, message):
    with pytest.raises(ValueError, match=message):
        create_loss("ce")(torch.zeros(2, 3), torch.tensor([0, 1]), weight)


@pytest.mark.parametrize(
    "target, weight, message",
    [
        (
            torch.zeros(2, 4, dtype=torch.long),
            None,
            r"shape \(2, 4, 4\) \(integers\) or \(2, 3, 4, 4\) \(floats\), got",
        ),
        (torch.zeros(2, 4, 4, 3), None, r"got \(2, 4, 4, 3\)"),
        (torch.zeros(2, 4, 4), None, r"a target of shape \(M,\) must hold integers, got torch.float32"),
        ([0], None, "target must be a tensor, got list"),
        (torch.zeros(2, 4, 4, dtype=torch.long), torch.ones(4), r"sample_weight has shape \(2, 4, 4\) or \(2,\), got"),
    ],
)
def test_bad_shapes_of_a_segmentation(target, weight, message):
    with pytest.raises(ValueError, match=message):
        create_loss("ce")(torch.zeros(2, 3, 4, 4), target, weight)

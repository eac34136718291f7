"""Online label smoothing: what is counted, when it takes effect, and where the state lives."""

import pytest
import torch
from numpy.testing import assert_allclose

from sosr_timm.losses import create_loss
from sosr_timm.losses.ols import bytes_of_state
from tests.losses import oracles
from tests.losses.cases import batch

pytestmark = pytest.mark.usefixtures("either_kernel")


def sum_with(parts):
    """`sum_over_ranks` of one of two processes, where the other one's tensors are `parts`, in order."""
    other = iter(parts)
    return lambda tensor: tensor + next(other)


def training_batch(**keywords):
    """A batch whose logits want a gradient: others are an evaluation's and leave no state."""
    logits, index, dense = batch(**keywords)
    return logits.requires_grad_(), index, dense


def test_worked_value():
    loss = create_loss("ols", num_classes=3)
    loss.base.soft_labels[0] = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    assert loss(torch.tensor([[1.0, 0, -1]]), torch.tensor([0])).item() == pytest.approx(0.607606, abs=1e-6)


def test_worked_update():
    loss = create_loss("ols", num_classes=3)
    logits = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).log()
    loss(logits.requires_grad_(), torch.tensor([0, 0, 0]))  # the third is wrong, so it is not counted
    assert loss.base.correct_count.tolist() == [2, 0, 0]
    loss.end_epoch()
    assert_allclose(loss.base.soft_labels, [[0.7, 0.2, 0.1], [1 / 3] * 3, [1 / 3] * 3], rtol=1e-6)
    assert not loss.base.probability_sum.any() and not loss.base.correct_count.any()


@pytest.mark.parametrize("init", ["uniform", "zeros", "smoothing"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_epochs_against_loops(init, alpha):
    loss = create_loss(f"ols(alpha={alpha}, init='{init}')")
    oracle = oracles.OnlineLabelSmoothing(5, alpha, init)
    for epoch in range(3):
        for step in range(2):
            logits, index, dense = batch(seed=10 * epoch + step)
            for target in (index, dense):
                value, gradient = oracle(logits.detach().numpy(), target.numpy())
                logits.requires_grad_().grad = None
                result = loss(logits, target)
                result.backward()
                assert_allclose(result.item(), value, rtol=1e-12)
                assert_allclose(logits.grad, gradient, atol=1e-12)
        loss.end_epoch(), oracle.end_epoch()
        assert_allclose(loss.base.soft_labels, oracle.soft, rtol=1e-12)


def test_zeros_start_is_alpha_times_cross_entropy():
    logits, index, _ = batch()
    half = create_loss("ols(init='zeros')")(logits, index)
    torch.testing.assert_close(half, 0.5 * create_loss("ce")(logits, index))


def test_dense_row_with_one_label_counts_and_mixed_does_not():
    loss = create_loss("ols")
    logits = torch.tensor([[5.0, 0, 0], [0, 5.0, 0]], requires_grad=True)
    loss(logits, torch.tensor([[1.0, 0, 0], [0.2, 0.8, 0]]))
    assert loss.base.correct_count.tolist() == [1, 0, 0]


def test_batch_takes_no_effect_before_the_epoch_ends():
    loss = create_loss("ols")
    logits, index, _ = training_batch()
    assert loss(logits, index).item() == loss(logits, index).item()


def test_evaluation_does_not_count():
    loss = create_loss("ols", num_classes=5)
    logits, index, _ = training_batch()
    with torch.no_grad():
        loss(logits, index)
    with torch.inference_mode():
        loss(logits, index)
    loss(logits.detach(), index)
    loss.eval()(logits, index)
    assert not loss.base.correct_count.any() and not loss.base.probability_sum.any()
    loss.train()(logits, index)
    assert loss.base.correct_count.any()


def test_sums_over_processes():
    logits, index, _ = training_batch(rows=8)
    whole, first, second = (create_loss("ols") for _ in range(3))
    whole(logits, index)
    first(logits[:3], index[:3])
    second(logits[3:], index[3:])
    whole.end_epoch()
    first.end_epoch(sum_with([second.base.probability_sum, second.base.correct_count]))
    torch.testing.assert_close(first.base.soft_labels, whole.base.soft_labels)


def test_many_samples_are_summed_in_float64():
    """In float32 a sum near 2e7 would not grow by 1 any more."""
    loss = create_loss("ols")
    logits, index = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, dtype=torch.long)
    loss(logits, index)
    loss.base.correct_count.fill_(2.0**25)
    loss(logits, index)
    assert loss.base.correct_count.item() == 2.0**25 + 1


def test_state_loads_before_the_first_batch():
    loss, fresh = create_loss("ols"), create_loss("ols")
    logits, index, _ = training_batch()
    loss(logits, index)
    loss.end_epoch()
    loss(logits, index)
    fresh.load_state_dict(loss.state_dict())
    torch.testing.assert_close(fresh.state_dict(), loss.state_dict(), rtol=0, atol=0)
    assert fresh(logits, index).item() == loss(logits, index).item()


def test_fresh_state_is_empty_and_loads():
    fresh = create_loss("ols")
    assert not fresh.state_dict()
    fresh.end_epoch()  # nothing to swap yet
    fresh.load_state_dict({})


def test_number_of_classes_is_checked():
    logits, index, _ = training_batch()
    with pytest.raises(ValueError, match="logits have 5 classes, the loss was made for 7"):
        create_loss("ols", num_classes=7)(logits, index)
    loss = create_loss("ols")
    loss(logits, index)
    with pytest.raises(ValueError, match="soft labels of 5 classes, logits 4"):
        loss(logits[:, :4], index.clamp(max=3))


def test_state_follows_the_logits_to_their_device():
    loss = create_loss("ols+maxsup", num_classes=5)
    logits, index, _ = training_batch(dtype=torch.float32)
    loss(logits.to("meta"), index.to("meta"))
    assert loss.base.soft_labels.device.type == "meta"


def test_unknown_init():
    with pytest.raises(ValueError, match="unknown init 'unifrom': did you mean 'uniform'"):
        create_loss("ols(init='unifrom')")


def test_soft_labels_are_mixed_in_float32_under_autocast():
    """A product of matrices, which autocast would compute in bfloat16."""
    loss = create_loss("ols")
    logits, index, dense = batch(dtype=torch.float32)
    loss(logits.requires_grad_(), index)
    loss.end_epoch()
    expected = loss(logits, dense)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(logits, dense).item() == expected.item()


def test_a_state_that_no_memory_holds_is_refused_with_its_bytes():
    said = "50,000 classes need 40,000,400,000 bytes; at most 17,179,869,184"
    with pytest.raises(ValueError, match=said):
        create_loss("ols+sosr", num_classes=50_000)
    loss = create_loss("ols")
    with pytest.raises(ValueError, match="32,768 classes need 17,180,131,328 bytes"):
        loss(torch.zeros(1, 32_768), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="32,768 classes need"):
        loss.eval()(torch.zeros(1, 32_768), torch.zeros(1, dtype=torch.int64))


def test_the_bytes_of_the_state_are_those_that_are_stated():
    loss = create_loss("ols", num_classes=30)
    assert sum(tensor.nbytes for tensor in loss.buffers()) == bytes_of_state(30)

"""Top-k counts are timm's."""

import pytest
import torch

from sosr_timm.metrics import top_correct


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 6, 100])
def test_counts_as_the_rank_of_the_label_says(classes):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(64, classes, generator=generator)
    target = torch.randint(classes, (64,), generator=generator)
    top1, top5 = top_correct(logits, target)
    for row, label, first, five in zip(logits.tolist(), target.tolist(), top1.tolist(), top5.tolist(), strict=True):
        rank = sum(value > row[label] for value in row)
        assert first == (rank == 0)
        assert five == (rank < 5)


def test_another_k():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]]).repeat(4, 1)
    assert top_correct(logits, torch.arange(4), k=2)[1].tolist() == [True, True, False, False]


def test_ties_give_exactly_k_guesses():
    """Equal logits: which classes are guessed is torch's choice, how many is not."""
    top1, top5 = top_correct(torch.zeros(10, 10), torch.arange(10))
    assert (top1.sum(), top5.sum()) == (1, 5)


def test_no_class_is_never_correct_and_small_integers_work():
    logits = torch.eye(3)
    assert not top_correct(logits, torch.tensor([-1, 3, -100]))[1].any()
    assert top_correct(logits, torch.arange(3, dtype=torch.uint8))[0].all()


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.long)),
        (torch.zeros(3, 2), torch.zeros(3, 1, dtype=torch.long)),
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long)),
    ],
)
def test_what_is_no_batch_is_refused(logits, target):
    with pytest.raises(ValueError, match="expected"):
        top_correct(logits, target)

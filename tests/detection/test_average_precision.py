"""VOC's average precision: cases computed by hand, the rules on difficult objects, and a foreign implementation."""

import numpy as np
import pytest

from sosr_timm.detection.average_precision import (
    Detections,
    Objects,
    average_precision_11point,
    average_precision_area,
    average_precisions,
    judged,
    overlaps,
)


def objects(*rows) -> Objects:
    """(left, top, right, bottom, label, difficult) for each object."""
    table = np.asarray(rows, dtype=float).reshape(-1, 6)
    return Objects(table[:, :4].astype(np.float32), table[:, 4].astype(np.int64), table[:, 5].astype(bool))


def detections(*rows) -> Detections:
    """(left, top, right, bottom, label, score) for each detection."""
    table = np.asarray(rows, dtype=float).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.int64), table[:, 5].astype(np.float32))


HERE, THERE, ELSEWHERE = (0, 0, 10, 10), (20, 20, 40, 40), (50, 0, 60, 10)


def test_overlap_is_intersection_over_union():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    assert overlaps(np.array([0, 0, 10, 10]), boxes).tolist() == [1, 50 / 150, 0, 4 / 100]


def test_the_four_judgements_of_a_detection():
    known = [objects((*HERE, 0, 0), (*THERE, 0, 1)), objects((*HERE, 1, 0))]
    found = [
        detections((*HERE, 0, 0.9), (*HERE, 0, 0.8), (*THERE, 0, 0.7), (*ELSEWHERE, 0, 0.6), (*THERE, 0, 0.5)),
        detections((*HERE, 0, 0.85)),
    ]
    right, positives = judged(known, found, 0)
    # Found; of another class (0.85); found again; both of the difficult object count as neither; nothing there.
    assert right.tolist() == [True, False, False, False] and positives == 1


def test_an_overlap_of_exactly_a_half_is_enough():
    assert judged([objects((0, 0, 10, 10, 0, 0))], [detections((0, 0, 10, 5, 0, 1))], 0)[0].tolist() == [True]
    assert judged([objects((0, 0, 10, 10, 0, 0))], [detections((0, 0, 10, 4.9, 0, 1))], 0)[0].tolist() == [False]


def test_a_detection_is_judged_by_the_object_that_it_overlaps_most_even_where_that_was_found():
    known = [objects((0, 0, 10, 10, 0, 0), (0, 0, 10, 8, 0, 0))]
    found = [detections((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 9.5, 0, 0.8))]
    assert judged(known, found, 0)[0].tolist() == [True, False]


def test_both_conventions_by_hand():
    right = np.array([True, False, True, False, False, True, False])
    # Precision 1 at recall 1/4, 2/3 at 2/4, 3/6 at 3/4, and the fourth object is never found.
    assert average_precision_area(right, 4) == pytest.approx((1 + 2 / 3 + 1 / 2) / 4)
    eleven = [1, 1, 1, 2 / 3, 2 / 3, 2 / 3, 1 / 2, 1 / 2, 0, 0, 0]
    assert average_precision_11point(right, 4) == pytest.approx(sum(eleven) / 11)


def test_a_recall_on_a_point_counts_for_it():
    # 3 of 10 objects: 3 * 0.1 in floating point is above 0.3, which would lose the point.
    right = np.array([True, True, True])
    assert average_precision_11point(right, 10) == pytest.approx(4 / 11)


def test_nothing_found_is_zero_and_no_object_is_nan():
    found = average_precisions([objects((*HERE, 0, 0), (*HERE, 1, 1))], [detections()], 2)
    for values in found.values():
        assert values[0] == 0 and np.isnan(values[1])


def random_scenes(seed: int, images: int = 40, classes: int = 3):
    """Objects, and detections of which most are near an object."""
    draw = np.random.default_rng(seed)
    known, found = [], []
    for _ in range(images):
        corners = draw.uniform(0, 80, (draw.integers(0, 6), 2))
        boxes = np.concatenate([corners, corners + draw.uniform(8, 30, corners.shape)], axis=1)
        labels = draw.integers(0, classes, len(boxes))
        known.append(objects(*np.column_stack([boxes, labels, np.zeros(len(boxes))])))
        chosen = draw.integers(0, max(1, len(boxes)), len(boxes) * 2)
        near = boxes[chosen] + draw.normal(0, 2.5, (len(chosen), 4)) if len(boxes) else boxes
        guessed = np.where(draw.random(len(chosen)) < 0.8, labels[chosen], draw.integers(0, classes, len(chosen)))
        found.append(detections(*np.column_stack([near, guessed, draw.random(len(chosen))])))
    return known, found


@pytest.mark.parametrize("seed", range(3))
def test_both_conventions_agree_with_a_foreign_implementation(seed):
    foreign = pytest.importorskip("mean_average_precision").MetricBuilder
    known, found = random_scenes(seed)
    metric = foreign.build_evaluation_metric("map_2d", async_mode=False, num_classes=3)
    for one, other in zip(known, found, strict=True):
        crowd = np.zeros(len(one.labels))
        last = np.array([0, 0, 1, 1])  # it names the last pixel, as VOC's files do
        metric.add(
            np.column_stack([other.boxes - last, other.labels, other.scores]),
            np.column_stack([one.boxes - last, one.labels, one.difficult, crowd]),
        )
    ours = average_precisions(known, found, 3)
    area = metric.value(iou_thresholds=0.5)["mAP"]
    eleven = metric.value(iou_thresholds=0.5, recall_thresholds=np.arange(11) / 10)["mAP"]
    assert 20 < np.mean(ours["map_area"]) < 95
    assert np.mean(ours["map_area"]) == pytest.approx(100 * area, abs=1e-4)
    assert np.mean(ours["map_11point"]) == pytest.approx(100 * eleven, abs=1e-4)


@pytest.mark.slow
def test_the_area_is_near_what_coco_s_tool_finds_at_101_points():
    torch, detection = pytest.importorskip("torch"), pytest.importorskip("torchmetrics.detection")
    pytest.importorskip("faster_coco_eval")
    known, found = random_scenes(7, images=80)
    metric = detection.MeanAveragePrecision(
        iou_thresholds=[0.5], backend="faster_coco_eval", max_detection_thresholds=[1, 10, 1000]
    )
    for one, other in zip(known, found, strict=True):
        target = {"boxes": torch.tensor(one.boxes), "labels": torch.tensor(one.labels)}
        scored = {"boxes": torch.tensor(other.boxes), "labels": torch.tensor(other.labels)}
        metric.update([{**scored, "scores": torch.tensor(other.scores)}], [target])
    ours = np.mean(average_precisions(known, found, 3)["map_area"])
    # COCO lets a detection take the next best object where its best one was found before: a little more is right.
    assert ours == pytest.approx(100 * metric.compute()["map"].item(), abs=2.5)

"""The row kernel itself, in Triton: a program for each row.

A row that fits one block is read once, stays in registers, and its gradient is written once. A longer row is read three
times in a loop, the second and third time mostly from the cache: for the top logit and the softmax's sum, for the sums
that need those, and for spread and gradient, which need the sums.
"""

import triton
import triton.language as tl


@triton.jit
def log1p(x):
    # log(1 + x) loses what 1 + x rounds away; divided by how much of x is left, it has all its digits again.
    sum = 1.0 + x
    kept = sum - 1.0
    return tl.where(kept == 0.0, x, tl.log(sum) * (x / tl.where(kept == 0.0, 1.0, kept)))


@triton.jit
def load_logits(z_row, column, class_stride, classes):
    place = z_row + column.to(tl.int64) * class_stride
    return tl.load(place, mask=column < classes, other=-float("inf")).to(tl.float32)


@triton.jit
def load_target(
    row, column, label, dense, soft_row, classes, hard, even, dense_smoothing, label_weight, alpha,
    DENSE: tl.constexpr, SOFT: tl.constexpr,
):  # fmt: skip
    """What log p is weighted by, which classes are labels, and the target without label smoothing."""
    inside = column < classes
    if DENSE:
        target = tl.load(dense + row * classes + column, mask=inside, other=0.0)
        un_smoothed = (target - dense_smoothing / classes) / (1.0 - dense_smoothing)
        keep = inside & (un_smoothed > label_weight)
    else:
        keep = column == label
        target = tl.where(keep, hard, 0.0) + tl.where(inside, even / classes, 0.0)
        un_smoothed = target
    if SOFT:
        soft = tl.load(soft_row + column, mask=inside, other=0.0).to(tl.float32)
        target = alpha * target + (1.0 - alpha) * soft
    return target, keep, un_smoothed


@triton.jit
def row_kernel(
    logits, gradient, values, index, dense, soft_labels, probability_sum, correct_count, incoming, maxsup_weight,
    changing_smoothing, rows, classes, row_stride, class_stride, per_row,
    hard, even, offset, curve_parameter, dense_smoothing, label_weight, alpha, threshold, beta, cp_weight,
    logit_weight, margin, margin_weight, part_weight,
    DENSE: tl.constexpr, SOFT: tl.constexpr, COUNT: tl.constexpr, SOSR: tl.constexpr, GRADIENT: tl.constexpr,
    CHANGING: tl.constexpr, CURVE: tl.constexpr, LOGIT: tl.constexpr, MARGIN: tl.constexpr, PART: tl.constexpr,
    ONCE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Names as in the CPU kernel: gap is z - max z, surplus is minus the sum of p * gap.

    CURVE and PART are the numbers of `CURVES` and `SMOOTHING_PARTS`, 0 for none.
    """
    row = tl.program_id(0).to(tl.int64)
    z_row = logits + row * row_stride
    label = tl.load(index + row) if not DENSE else 0
    if CHANGING:
        even = tl.load(changing_smoothing)
        hard = 1.0 - even
    soft_row = soft_labels + (row if DENSE else label) * classes

    column = tl.arange(0, BLOCK)
    z = load_logits(z_row, column, class_stride, classes)

    # Once over the row: the top logit, where it is, and the sum of powers of the others, rescaled as the top rises.
    top = -float("inf")
    top_class = 0
    rest = 0.0
    for start in range(0, classes, BLOCK):
        if not ONCE:
            column = start + tl.arange(0, BLOCK)
            z = load_logits(z_row, column, class_stride, classes)
        here = tl.max(z, axis=0)
        here_class = tl.min(tl.where((z == here) & (column < classes), column, 2147483647), axis=0)
        if here > top:
            power = tl.where((column < classes) & (column != here_class), tl.exp(z - here), 0.0)
            rest = tl.where(top == -float("inf"), 0.0, (rest + 1.0) * tl.exp(top - here)) + tl.sum(power, axis=0)
            top_class = here_class
            top = here
        else:
            rest += tl.sum(tl.where(column < classes, tl.exp(z - top), 0.0), axis=0)
    total = 1.0 + rest
    log_total = log1p(rest)

    # Twice: sums that need the top logit. What the label's logits and the target's sums are.
    gap_sum = 0.0
    product = 0.0
    weight = 0.0
    target_product = 0.0
    label_gap_sum = 0.0
    label_power = 0.0
    label_count = 0.0
    top_is_label = 0.0
    heaviest = -float("inf")
    heaviest_class = 0
    squares = 0.0
    beyond = 0.0
    beyond_count = 0.0
    compared = 0.0
    compared_count = 0.0
    label_gap = 0.0
    if PART:
        label_gap = tl.load(z_row + label * class_stride).to(tl.float32) - top
    for start in range(0, classes, BLOCK):
        if not ONCE:
            column = start + tl.arange(0, BLOCK)
            z = load_logits(z_row, column, class_stride, classes)
        inside = column < classes
        gap = tl.where(inside, z - top, 0.0)
        power = tl.where(inside, tl.exp(gap), 0.0)
        gap_sum += tl.sum(gap, axis=0)
        product += tl.sum(power * gap, axis=0)
        target, keep, un_smoothed = load_target(
            row, column, label, dense, soft_row, classes, hard, even, dense_smoothing, label_weight, alpha, DENSE, SOFT
        )
        if LOGIT:
            squares += tl.sum(tl.where(inside, z * z, 0.0), axis=0)
        if MARGIN:
            goes_beyond = inside & (-gap > margin)
            beyond += tl.sum(tl.where(goes_beyond, -gap - margin, 0.0), axis=0)
            beyond_count += tl.sum(tl.where(goes_beyond, 1.0, 0.0), axis=0)
        if PART == 1 or PART == 2:
            farther = label_gap - gap if PART == 1 else gap - label_gap
            compared += tl.sum(tl.where(inside & (farther > 0.0), label_gap - gap, 0.0), axis=0)
            compared_count += tl.sum(tl.where(inside & (farther > 0.0), 1.0, 0.0), axis=0)
        if DENSE:
            here = tl.max(tl.where(inside, un_smoothed, -float("inf")), axis=0)
            if here > heaviest:
                heaviest = here
                heaviest_class = tl.min(tl.where(inside & (un_smoothed == here), column, 2147483647), axis=0)
        weight += tl.sum(target, axis=0)
        target_product += tl.sum(target * gap, axis=0)
        label_gap_sum += tl.sum(tl.where(keep, gap, 0.0), axis=0)
        label_power += tl.sum(tl.where(keep, power, 0.0), axis=0)
        label_count += tl.sum(tl.where(keep, 1.0, 0.0), axis=0)
        top_is_label += tl.sum(tl.where(keep & (column == top_class), 1.0, 0.0), axis=0)
    surplus = -product / total
    maxsup = tl.load(maxsup_weight)
    value = weight * log_total - target_product + offset
    complement = 0.0
    if CURVE:
        # f(p) of the label's probability p in the place of -log p, and -f'(p) p in the place of the target's 1.
        log_p = label_gap_sum - log_total
        others = tl.maximum(tl.where(top_is_label > 0.0, rest, total - label_power), 1e-38)
        odds = label_power / others
        complement = others / total
        log_complement = tl.log(others) - log_total
        if CURVE == 3:
            log_bound = log1p(-curve_parameter)
            value = (1.0 - curve_parameter) * (log_bound - log_p)
            value += curve_parameter * (tl.log(curve_parameter) - log_complement)
            within = log_p >= log_bound
            value = tl.where(within, 0.0, value)
            weight = tl.where(within, 0.0, 1.0 - curve_parameter - curve_parameter * odds)
        else:
            gamma = curve_parameter
            if CURVE == 2:
                gamma = tl.where(tl.exp(log_p) < 0.2, 5.0, 3.0)
            modulation = tl.exp(gamma * log_complement)
            value = -modulation * log_p
            weight = modulation * (1.0 - gamma * odds * log_p)
    tl.store(values + row, value)
    tl.store(values + 2 * rows + row, -maxsup * gap_sum / classes)
    tl.store(values + 3 * rows + row, -cp_weight * (surplus + log_total))
    tl.store(values + 4 * rows + row, 0.5 * logit_weight * squares)
    tl.store(values + 5 * rows + row, margin_weight / classes * beyond)
    compared_share = part_weight / tl.maximum(compared_count, 1.0)
    tl.store(values + 6 * rows + row, part_weight * label_gap if PART == 3 else compared_share * compared)

    wrong_count = classes - label_count
    mean = (gap_sum - label_gap_sum) / tl.maximum(wrong_count, 1.0)
    belief = tl.minimum(label_power / total, 1.0)
    chosen = (belief > threshold) & ((top_is_label > 0.0) | (label_count > 1.0)) & (wrong_count > 0.0)
    selected = tl.where(chosen, 1.0, 0.0) if SOSR else 0.0
    counted = 0.0
    counted_class = label
    if COUNT:
        if DENSE:
            counted_class = tl.minimum(heaviest_class, classes - 1)
            counted = tl.where((top_class == counted_class) & (label_count == 1.0), 1.0, 0.0)
        else:
            counted = tl.where(top_class == label, 1.0, 0.0)
        one = tl.full((), 1.0, correct_count.dtype.element_ty)
        tl.atomic_add(correct_count + counted_class, one, mask=counted > 0.0, sem="relaxed")

    # Three times: the spread around the mean, and the gradient.
    spread = 0.0
    scale = tl.load(incoming) * per_row
    for start in range(0, classes, BLOCK):
        if not ONCE:
            column = start + tl.arange(0, BLOCK)
            z = load_logits(z_row, column, class_stride, classes)
        inside = column < classes
        gap = tl.where(inside, z - top, 0.0)
        p = tl.where(inside, tl.exp(gap), 0.0) / total
        target, keep, _ = load_target(
            row, column, label, dense, soft_row, classes, hard, even, dense_smoothing, label_weight, alpha, DENSE, SOFT
        )
        deviation = tl.where(inside & ~keep, gap - mean, 0.0) * selected
        spread += tl.sum(deviation * deviation, axis=0)
        if GRADIENT:
            if CURVE:  # p - 1 is -(1 - p), which has digits where p is almost 1
                slope = weight * tl.where(keep, -complement, p) + p * cp_weight * (gap + surplus)
            else:
                slope = p * (weight + cp_weight * (gap + surplus)) - target
            slope += (2.0 * beta / classes) * deviation
            slope += maxsup * (tl.where(column == top_class, 1.0, 0.0) - 1.0 / classes)
            if LOGIT:
                slope += logit_weight * tl.where(inside, z, 0.0)
            if MARGIN:
                share = tl.where(column == top_class, beyond_count, 0.0) - tl.where(-gap > margin, 1.0, 0.0)
                slope += margin_weight / classes * share
            if PART == 1 or PART == 2:
                farther = label_gap - gap if PART == 1 else gap - label_gap
                slope += tl.where(keep, compared_share * compared_count, 0.0)
                slope -= tl.where(inside & (farther > 0.0), compared_share, 0.0)
            if PART == 3:
                slope += part_weight * (tl.where(keep, 1.0, 0.0) - tl.where(column == top_class, 1.0, 0.0))
            slope = (slope * scale).to(gradient.dtype.element_ty)
            tl.store(gradient + row * classes + column, slope, mask=inside)
        if COUNT:
            place = probability_sum + counted_class.to(tl.int64) * classes + column
            p = p.to(probability_sum.dtype.element_ty)
            tl.atomic_add(place, p, mask=column < tl.where(counted > 0.0, classes, 0), sem="relaxed")
    tl.store(values + rows + row, beta / classes * spread)
    tl.store(values + 7 * rows + row, selected)

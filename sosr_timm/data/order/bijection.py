"""A random order of any length without a list of it: a seeded bijection on [0, N)."""

from __future__ import annotations

import numpy as np

ROUNDS = 10
# The finalizer of SplitMix64 (Steele, Lea and Flood 2014), which mixes the other half into a round.
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
PIECE = 1 << 14  # positions at once, so that they stay in the processor's cache


class Bijection:
    """Position -> sample, each sample once: a Feistel network of ten rounds with cycle walking.

    A Feistel network permutes the numbers of b bits, whatever its rounds compute (Luby and Rackoff 1988). Positions
    that it sends out of [0, N) are sent on until they come back, which keeps it a bijection (Black and Rogaway 2002).
    b is the smallest number of bits that N needs, so fewer than two evaluations are needed on average. Memory and the
    time to start do not depend on N.

    Args:
        size: N, at least 1, at most 2^62.
        words: 32-bit seeds; other words give an independent order.
    """

    def __init__(self, size: int, words: list[int]):
        if not 1 <= size <= 1 << 62:
            raise ValueError(f"an order of {size} samples")
        self.size = size
        bits = max(2, (size - 1).bit_length())
        low = bits // 2
        self.low_bits = np.uint64(low)
        self.low, self.high = np.uint64((1 << low) - 1), np.uint64((1 << (bits - low)) - 1)
        self.keys = np.random.SeedSequence(words).generate_state(ROUNDS, np.uint64)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """The samples at positions.

        Args:
            positions: (M,) integers in [0, N).

        Returns:
            (M,) int64.
        """
        found = np.empty(len(positions), np.int64)
        for start in range(0, len(positions), PIECE):
            found[start : start + PIECE] = self._walk(positions[start : start + PIECE].astype(np.uint64))
        return found

    def _walk(self, values: np.ndarray) -> np.ndarray:
        values = self._permute(values)
        outside = np.flatnonzero(values >= self.size)
        while len(outside):
            values[outside] = self._permute(values[outside])
            outside = outside[values[outside] >= self.size]
        return values

    def _permute(self, values: np.ndarray) -> np.ndarray:
        """A permutation of the numbers of b bits."""
        high, low = values >> self.low_bits, values & self.low
        for number in range(0, ROUNDS, 2):
            high ^= _mix(low, self.keys[number]) & self.high
            low ^= _mix(high, self.keys[number + 1]) & self.low
        return (high << self.low_bits) | low


def _mix(half: np.ndarray, key: np.uint64) -> np.ndarray:
    mixed = half + key
    mixed ^= mixed >> np.uint64(30)
    mixed *= FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed

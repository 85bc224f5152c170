"""Latencies counted in a few buckets, whose bounds grow by the square root of two: small, and added up by summing."""

import math
from collections.abc import Sequence
from typing import Final

from lastgood.db.runs import LATENCY_BUCKETS

# The upper bounds in milliseconds: 1, 1.41, 2, … 741,455 (12 minutes); the last bucket has what took longer.
BOUNDS: Final = tuple(2.0 ** (n / 2) for n in range(LATENCY_BUCKETS - 1))
# The names of the buckets' columns.
COLUMNS: Final = tuple(f"bucket_{number}" for number in range(LATENCY_BUCKETS))


def bucket(ms: float) -> int:
    """The number of the bucket that `ms` falls into."""
    if ms <= 1.0:
        return 0
    return min(math.ceil(2 * math.log2(ms)), LATENCY_BUCKETS - 1)


def quantile(counts: Sequence[int], q: float, longest: float) -> float | None:
    """The latency in milliseconds that the fraction `q` of all stayed within, to about a fifth from a millisecond on;
    None without any. `longest` is the longest one seen."""
    total = sum(counts)
    if total == 0:
        return None
    left = q * total
    for number, count in enumerate(counts):
        if count and left <= count:
            low = BOUNDS[number - 1] if number else 0.5
            high = BOUNDS[number] if number < len(BOUNDS) else max(longest, low)
            # Within a bucket as if they were spread evenly on the logarithmic scale.
            return min(low * math.pow(high / low, left / count), longest)
        left -= count
    return longest

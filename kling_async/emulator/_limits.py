"""Counts creates against an account's rate and its parallel tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from kling_async.emulator._refusals import Refusal
from kling_async.emulator._tasks import Tasks


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


@dataclass
class Limits:
    """How much an account may do; None is no limit. Both may be changed at any time.

    Args:
        parallel: Tasks in progress, counted per account and model.
        rate: Creates a second of the loop's time, counted per account.
    """

    parallel: int | None = None
    rate: float | None = None
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket], repr=False)

    def check_rate(self, account: str) -> None:
        """Refuse a create that comes too fast (1302)."""
        if self.rate is None:
            return
        most = max(1.0, self.rate)
        now = anyio.current_time()
        bucket = self._buckets.setdefault(account, _Bucket(most, now))
        bucket.tokens = min(most, bucket.tokens + (now - bucket.filled_at) * self.rate)
        bucket.filled_at = now
        if bucket.tokens < 1:
            raise Refusal(1302)
        # A refused create takes nothing, or a hasty client would never get through.
        bucket.tokens -= 1

    def check_parallel(self, account: str, model: str, tasks: Tasks) -> None:
        """Refuse a create while too many tasks are in progress (1303)."""
        if self.parallel is not None and tasks.running(account, model) >= self.parallel:
            raise Refusal(1303)

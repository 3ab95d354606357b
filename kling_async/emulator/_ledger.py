"""Keeps the books: one entry for every task that was created and billed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import overload


@dataclass(frozen=True, slots=True)
class Entry:
    """One billed create; `at` is Unix seconds of simulated time."""

    task_id: str
    external_task_id: str | None
    account: str
    path: str
    model_name: str
    body: Mapping[str, object]
    units: Decimal
    at: float


class Ledger(Sequence[Entry]):
    """Every create that cost money, in order."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        # Counted as they come: tests ask after every one of thousands of tasks.
        self._by_external_id: Counter[str | None] = Counter()
        self.units = Decimal(0)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def add(self, entry: Entry) -> None:
        """Bill a create."""
        self._entries.append(entry)
        self._by_external_id[entry.external_task_id] += 1
        self.units += entry.units

    def billed(self, external_task_id: str) -> int:
        """How many creates with this external id were paid for."""
        return self._by_external_id[external_task_id]

    @property
    def billed_twice(self) -> dict[str, int]:
        """External ids paid for more than once, with how often."""
        return {
            name: count
            for name, count in self._by_external_id.items()
            if name is not None and count > 1
        }

    def summary(self) -> dict[str, object]:
        """The totals, ready for JSON."""
        per_path = Counter(entry.path for entry in self._entries)
        return {
            "creates": len(self._entries),
            "units": str(self.units),
            "by_path": dict(sorted(per_path.items())),
            "billed_twice": self.billed_twice,
        }

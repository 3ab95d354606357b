"""Abilities: what a server does with external ids, declared by its provider or learned.

Whether an unknown server finds tasks by their external id is learned from a task of which
both ids are known: asking for it by the one is free, and should lead to the other. That it
refuses a second create with the same id is believed only once it has.
"""

from __future__ import annotations

from .providers import Provider

_MISSES = 3  # in a row: a single one may be a replica that lags behind


class Abilities:
    """What is known of one server; None stands for nothing yet."""

    def __init__(self, provider: Provider) -> None:
        self.finds_external_id = provider.finds_external_id
        self.refuses_duplicate_ids = provider.refuses_duplicate_ids
        self._misses = 0

    @property
    def answers_look_ups(self) -> bool:
        """Asking is free, so a server of which nothing is known is asked as well."""
        return self.finds_external_id is not False

    @property
    def trusts_not_found(self) -> bool:
        """Whether a create may be sent again, with the same id, when no task is found."""
        return bool(self.finds_external_id and self.refuses_duplicate_ids)

    def found(self) -> None:
        """A task was found by its external id."""
        self.finds_external_id = True

    def missed(self) -> None:
        """A task that exists was not found by its external id."""
        self._misses += 1
        if self.finds_external_id is None and self._misses >= _MISSES:
            self.finds_external_id = False

    def refused_duplicate(self) -> None:
        """A second create with the same id was refused."""
        self.refuses_duplicate_ids = True

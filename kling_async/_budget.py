"""Budget: what a batch may spend, in Kling's units; pure, told what is sent and what it cost."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from ._errors import ConfigurationError, RequestRefused
from ._prices import price as listed_price
from .endpoints import Request

Units = Decimal | int | float | str
Price = Units | Callable[[Request[Any]], Units]
"""What one request costs, or a function that says so."""


class Budget:
    """Estimates count from the create on, and are corrected by what the server says."""

    def __init__(self, limit: Units | None = None, price: Price | None = None) -> None:
        self.limit = None if limit is None else _units(limit, "budget")
        self.spent = Decimal(0)
        """What ended tasks have cost and those in flight are expected to."""
        self.in_flight = 0
        """Tasks whose cost may still be corrected."""
        self._price = price

    def estimate(self, request: Request[Any]) -> Decimal | None:
        """The units *request* costs; under a budget, one without a price is refused."""
        if callable(self._price):
            return _units(self._price(request), "price")
        if self._price is not None:
            return _units(self._price, "price")
        units = listed_price(request.endpoint, request.model, request.options())
        if units is None and self.limit is not None:
            raise RequestRefused(
                f"{request.endpoint}: no list prices this request, so no budget can bound it",
                advice="Say what it costs: price=3.5, or price=a function of the request.",
            )
        return units

    def price(self, tasks: int) -> Decimal:
        """What a task of an earlier run counts as that had no price then."""
        if self._price is None or callable(self._price):
            raise ConfigurationError(
                f"{tasks} tasks of earlier runs have no price, so no budget can bound them",
                advice="Say what one of them costs, for this run at least: price=3.5.",
            )
        return _units(self._price, "price")

    def has_room_for(self, counted: Decimal | None) -> bool:
        """Whether a create whose estimate is *counted* already may be sent."""
        return self.limit is None or (counted is not None and self.spent <= self.limit)

    def take(self, units: Decimal | None) -> bool:
        """A task is about to be created, if the budget has room for it."""
        spent = self.spent + (units or 0)
        if self.limit is not None and spent > self.limit:
            return False
        self.spent, self.in_flight = spent, self.in_flight + 1
        return True

    def resume(self) -> None:
        """A task of an earlier run goes on; what it costs is counted already."""
        self.in_flight += 1

    def settle(self, estimate: Decimal | None, units: Decimal | None) -> None:
        """A task has ended, or never came to be; without *units* the estimate stands."""
        self.in_flight -= 1
        if units is not None:
            self.spent += units - (estimate or 0)


def _units(value: Units, name: str) -> Decimal:
    try:
        units = Decimal(str(value))
    except InvalidOperation:
        units = Decimal("nan")
    if not units.is_finite() or units < 0:
        raise ConfigurationError(f"{name} is {value!r}; give units, such as 3.5")
    return units

"""Instruments: every metric, with its unit and its attributes."""

from __future__ import annotations

from typing import TypeAlias

from opentelemetry.metrics import MeterProvider, get_meter

from kling_async._events import (
    DownloadFinished,
    ExchangeFinished,
    RetryScheduled,
    SlotsChanged,
    TaskFinished,
    TaskPolled,
)
from kling_async._version import __version__

Attributes: TypeAlias = dict[str, str | int]

_OTHER = "_OTHER"
_MOST_WORDS = 100
# OpenTelemetry's own for this name; ours fit tasks of minutes.
_EXCHANGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_TASKS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1800, 3600)
_LAGS = (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 7.5, 10, 15, 30, 60, 120)
_DOWNLOADS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)


class Words:
    """Lets the first hundred different words pass: models and hosts are not ours to bound."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, word: str) -> str:
        if word not in self._known:
            if len(self._known) >= _MOST_WORDS:
                return _OTHER
            self._known.add(word)
        return word


class Instruments:
    """Takes what happened and records it."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = get_meter("kling_async", __version__, provider)
        self._models, self._hosts, self._errors = Words(), Words(), Words()
        self._told: dict[str, SlotsChanged] = {}
        self._in_flight = meter.create_up_down_counter(
            "kling.tasks.in_flight", "{task}", "Tasks that were accepted and have not ended."
        )
        self._taken = meter.create_up_down_counter(
            "kling.slots.taken", "{slot}", "Slots taken, from the create to the end of the task."
        )
        self._queued = meter.create_up_down_counter(
            "kling.slots.queued", "{task}", "Creates that wait for a slot."
        )
        self._limit = meter.create_gauge(
            "kling.slots.limit", "{slot}", "Slots there are, set or learned."
        )
        self._duration = meter.create_histogram(
            "kling.task.duration",
            "s",
            "How long a task took by the server's clock.",
            explicit_bucket_boundaries_advisory=_TASKS,
        )
        self._lag = meter.create_histogram(
            "kling.task.lag",
            "s",
            "How long after the end of a task it was known here.",
            explicit_bucket_boundaries_advisory=_LAGS,
        )
        self._units = meter.create_counter("kling.units", "{unit}", "What tasks cost.")
        self._polls = meter.create_counter(
            "kling.polls", "{poll}", "States told by the server, each task on a page counted."
        )
        self._retries = meter.create_counter(
            "kling.retries", "{retry}", "What failed in passing and is done again."
        )
        self._received = meter.create_counter(
            "kling.download.io", "By", "Bytes of finished downloads that came over the network."
        )
        self._downloads = meter.create_histogram(
            "kling.download.duration",
            "s",
            "How long a download took, breaks included.",
            explicit_bucket_boundaries_advisory=_DOWNLOADS,
        )
        self._exchanges = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_EXCHANGES,
        )

    def task(self, endpoint: str, model_name: str | None) -> Attributes:
        """The attributes of all that is told of a task."""
        return {"kling.endpoint": endpoint, **self._model(model_name)}

    def count(self, task: Attributes, more: int) -> None:
        """So many more, or fewer, tasks are in flight."""
        self._in_flight.add(more, task)

    def finished(self, event: TaskFinished) -> None:
        """A task has ended."""
        task = self.task(event.endpoint, event.model_name)
        task["kling.task.status"] = event.status.value
        if event.seconds is not None:
            self._duration.record(event.seconds, task)
        if event.lag is not None:
            self._lag.record(event.lag, task)
        if event.units is not None:
            self._units.add(float(event.units), task)

    def polled(self, event: TaskPolled) -> None:
        """The server told of a task."""
        kind = "page" if event.on_page else "single"
        self._polls.add(1, {"kling.endpoint": event.endpoint, "kling.poll.kind": kind})

    def slots(self, event: SlotsChanged) -> None:
        """Slots were taken, given back or learned."""
        name, model = event.model_name, self._model(event.model_name)
        before = self._told.get(name, SlotsChanged(name, 0, 0, None))
        self._told[name] = event
        # To record nothing new costs as much as to record something.
        if more := event.running - before.running:
            self._taken.add(more, model)
        if more := event.queued - before.queued:
            self._queued.add(more, model)
        if event.limit not in (None, before.limit):
            self._limit.set(event.limit, model)

    def no_slots(self) -> None:
        """Nothing is held or waited for any more."""
        for event in list(self._told.values()):
            self.slots(SlotsChanged(event.model_name, 0, 0, None))

    def retried(self, event: RetryScheduled) -> None:
        """Something is done again."""
        error = self._errors(type(event.error).__name__)
        self._retries.add(1, {"kling.retry.what": event.what, "error.type": error})

    def downloaded(self, event: DownloadFinished) -> None:
        """A video is there."""
        self._received.add(event.fetched)
        self._downloads.record(event.seconds)

    def exchanged(self, event: ExchangeFinished) -> None:
        """An HTTP request is over."""
        told: Attributes = {
            "http.request.method": event.method,
            "server.address": self._hosts(event.host),
        }
        if event.port is not None:
            told["server.port"] = event.port
        if event.status is not None:
            told["http.response.status_code"] = event.status
        if event.error is not None:
            told["error.type"] = self._errors(event.error)
        elif event.status is not None and event.status >= 400:
            told["error.type"] = str(event.status)
        self._exchanges.record(event.seconds, told)

    def _model(self, name: str | None) -> Attributes:
        return {"kling.model": self._models(name)} if name else {}

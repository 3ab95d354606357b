"""Telemetry: the hook that makes spans and metrics of events."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

from kling_async._errors import ConfigurationError
from kling_async._events import (
    DownloadFinished,
    Event,
    ExchangeFinished,
    KlingClosed,
    RetryScheduled,
    SlotsChanged,
    TaskFinished,
    TaskPolled,
    TaskSubmitted,
    TaskTakenUp,
)
from kling_async._state import TaskStatus
from kling_async._version import __version__

from ._instruments import Attributes, Instruments

Key: TypeAlias = tuple[str, str]

_ENDED = 10_000
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class _Open:
    """A task that is under way."""

    span: Span
    attributes: Attributes
    """Of its metrics."""


class Telemetry:
    """A hook that makes a span of each task, and metrics of everything; one for each client.

    A span begins when the create is accepted, as a child of the span that is current then, and
    ends when the end of the task is known here. What is still under way when the client is
    closed ends as "unknown".

    Example:
        from kling_async.otel import Telemetry

        async with Kling(hooks=[Telemetry()]) as kling:
            video = await kling.text2video.run(prompt="A paper boat")

    Args:
        tracer_provider: Without one, the global one.
        meter_provider: Without one, the global one.
        poll_events: Note each state that the server tells as an event of the task's span.
        max_spans: How many tasks may be under way; past that, the oldest ends as "unknown".
            A task that nobody waits for is never seen to end.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        poll_events: bool = False,
        max_spans: int = 100_000,
    ) -> None:
        if max_spans < 1:
            raise ConfigurationError(f"max_spans is {max_spans}; give 1 or more")
        self._tracer = get_tracer("kling_async", __version__, tracer_provider)
        self._instruments = Instruments(meter_provider)
        self._poll_events = poll_events
        self._max_spans = max_spans
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        self._ended: OrderedDict[Key, None] = OrderedDict()
        """The last ones: a task that is taken up again after its end does not cost again."""

    def __call__(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case ExchangeFinished():
                self._instruments.exchanged(event)
            case TaskPolled():
                self._polled(event)
            case SlotsChanged():
                self._instruments.slots(event)
            case TaskSubmitted():
                self._begin(event, {"kling.task.external_id": event.external_task_id})
            case TaskTakenUp():
                self._begin(event, {"kling.task.taken_up": True})
            case TaskFinished():
                self._finish(event)
            case RetryScheduled():
                self._instruments.retried(event)
            case DownloadFinished():
                self._instruments.downloaded(event)
            case KlingClosed():
                while self._open:
                    self._give_up()
                self._instruments.no_slots()
            case _:  # how far a download has come is for progress bars
                pass

    def _begin(self, event: TaskSubmitted | TaskTakenUp, more: dict[str, str | bool]) -> None:
        key = event.endpoint, event.task_id
        if key in self._open or key in self._ended:
            return
        attributes = self._instruments.task(event.endpoint, event.model_name)
        span = self._tracer.start_span(
            f"kling {event.endpoint}",
            kind=SpanKind.CLIENT,
            attributes={**attributes, "kling.task.id": event.task_id, **more},
        )
        self._open[key] = _Open(span, attributes)
        self._instruments.count(attributes, +1)
        if len(self._open) > self._max_spans:
            self._give_up()

    def _polled(self, event: TaskPolled) -> None:
        self._instruments.polled(event)
        if self._poll_events and (task := self._open.get((event.endpoint, event.task_id))):
            kind = "page" if event.on_page else "single"
            told = {"kling.task.status": event.status.value, "kling.poll.kind": kind}
            task.span.add_event("kling.poll", told)

    def _finish(self, event: TaskFinished) -> None:
        key = event.endpoint, event.task_id
        if key in self._ended:
            return
        self._ended[key] = None
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        self._instruments.finished(event)
        if (task := self._open.pop(key, None)) is None:  # it was given up before
            return
        span = task.span
        span.set_attribute("kling.task.status", event.status.value)
        if event.seconds is not None:
            span.set_attribute("kling.task.duration", event.seconds)
        if event.lag is not None:
            span.set_attribute("kling.task.lag", event.lag)
        if event.units is not None:
            span.set_attribute("kling.units", float(event.units))
        if event.status is TaskStatus.FAILED:
            span.set_attribute("error.type", "TaskFailed")
            span.set_status(Status(StatusCode.ERROR, event.message[:_LONGEST_REASON]))
        span.end()
        self._instruments.count(task.attributes, -1)

    def _give_up(self) -> None:
        """End the oldest span without knowing how its task will end."""
        _, task = self._open.popitem(last=False)
        task.span.set_attribute("kling.task.status", TaskStatus.UNKNOWN.value)
        task.span.end()
        self._instruments.count(task.attributes, -1)

"""Observatory: a Telemetry whose spans and metrics stay in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kling_async import Kling, KlingAI, Provider
from kling_async.emulator import Emulator
from kling_async.otel import Telemetry

KEY = "a-secret-key-0123456789"


class Observatory:
    """Sees all that is exported."""

    def __init__(self, **options: Any) -> None:
        nothing = Resource.get_empty()
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(resource=nothing, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._meters = MeterProvider([self._reader], nothing, shutdown_on_exit=False)
        self.telemetry = Telemetry(self.tracers, self._meters, **options)

    def client(self, emulator: Emulator, provider: Provider | None = None, **options: Any) -> Kling:
        provider = provider or KlingAI(KEY)
        transport = emulator.transport()
        return Kling(provider, transport=transport, hooks=[self.telemetry], **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those of tasks that have ended, in the order of their ends."""
        ended = self._exporter.get_finished_spans()
        return [span for span in ended if span.name.startswith("kling ")]

    def metrics(self) -> dict[str, Any]:
        """Every metric by its name, as it is now."""
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else data.resource_metrics[0].scope_metrics
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the value of each series; of histograms, count and sum."""
        metric = self.metrics().get(name)
        return [
            (dict(point.attributes), _value(point))
            for point in (metric.data.data_points if metric else [])
        ]

    def total(self, name: str, **attributes: Any) -> float:
        """Of all series with these attributes (dots are underscores); of histograms, the counts."""
        values = [value for found, value in self.points(name) if _has(found, attributes)]
        return sum(float(value[0] if isinstance(value, tuple) else value) for value in values)

    def exported(self) -> str:
        """All of it, as text."""
        data = self._reader.get_metrics_data()
        spans = [span.to_json() for span in self._exporter.get_finished_spans()]
        return "\n".join([*spans, "" if data is None else data.to_json()])


def _value(point: Any) -> Any:
    return (point.count, point.sum) if hasattr(point, "sum") else point.value


def _has(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    known = {name.replace(".", "_"): value for name, value in found.items()}
    return all(known.get(name) == value for name, value in wanted.items())

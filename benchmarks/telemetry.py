"""What telemetry costs: CPU a task without a hook, with an idle one, with spans and metrics.

Run: python benchmarks/telemetry.py

The same tasks by turns, against a server that answers at once, in virtual time: what is measured
is the client's own work, which makes the share of telemetry as large as it can be.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median

import anyio
import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

sys.path.insert(0, str(Path(__file__).parent.parent))

import kling_async.testing._virtual_time as virtual_time
from kling_async import CometAPI, Event, Kling, Polling, TaskSubmitted, Text2Video
from kling_async.otel import Telemetry

TASKS, ROUNDS, AT_ONCE, LASTS = 500, 9, 100, 20.0
SPANS = 20_000
KEY = "a-secret-key-0123456789"
Hook = Callable[[Event], object]


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def server() -> httpx.MockTransport:
    """Tasks that last `LASTS` seconds."""
    ids, ends = count(), dict[str, float]()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            task_id = str(next(ids))
            ends[task_id] = anyio.current_time() + LASTS
        else:
            task_id = request.url.path.rpartition("/")[2]
        at, done = ends.get(task_id, 0.0), ends.get(task_id, 0.0) <= anyio.current_time()
        status, result = (
            ("succeed", '"videos":[{"url":"https://files.test/0"}]') if done else ("processing", "")
        )
        content = (
            f'{{"code":0,"data":{{"task_id":"{task_id}","task_status":"{status}",'
            f'"created_at":{1e12 + at * 1000:.0f},"updated_at":{1e12 + (at + LASTS) * 1000:.0f},'
            f'"final_unit_deduction":"1","task_result":{{{result}}}}}}}'
        )
        return httpx.Response(200, content=content.encode())

    return httpx.MockTransport(answer)


def boats() -> Iterator[Text2Video]:
    return (Text2Video(prompt=f"Boat {index}") for index in range(TASKS))


def nothing(event: Event) -> None:
    pass


def spans_and_metrics(**options: bool) -> Telemetry:
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    return Telemetry(tracers, meters, **options)


WAYS: dict[str, Callable[[], list[Hook]]] = {
    "without a hook": list,
    "a hook that does nothing": lambda: [nothing],
    "Telemetry, no SDK": lambda: [Telemetry()],
    "Telemetry, spans and metrics": lambda: [spans_and_metrics()],
    "the same with poll_events": lambda: [spans_and_metrics(poll_events=True)],
}


async def seconds(hooks: list[Hook]) -> float:
    """CPU seconds a task."""
    polling = Polling(interval=5, jitter=0, learn=False, guards=())
    async with Kling(CometAPI(KEY), transport=server(), polling=polling, hooks=hooks) as kling:
        gc.collect()
        started = time.process_time()
        async for outcome in kling.map(boats(), max_at_once=AT_ONCE):
            outcome.unwrap()
        return (time.process_time() - started) / TASKS


async def bytes_a_span() -> float:
    """Of one that is open, its SDK's share included."""
    tracemalloc.start()
    telemetry = spans_and_metrics()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(SPANS):
        telemetry(TaskSubmitted("text2video", str(number), f"ka-{number}", "kling-v1"))
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / SPANS


async def run() -> None:
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            found[name].append(await seconds(way()))
    bare = found["without a hook"]
    print(f"{TASKS:,} tasks, {AT_ONCE} at once, medians of {ROUNDS} rounds by turns")
    print("CPU a task, µs                     all    added    ratio")
    for name, each in found.items():
        added = median(one - base for one, base in zip(each, bare, strict=True))
        ratio = median(one / base for one, base in zip(each, bare, strict=True))
        print(f"{name:<30} {median(each) * 1e6:7.0f} {added * 1e6:8.0f} {ratio:8.3f}")
    print(f"{SPANS:,} open spans: {await bytes_a_span():,.0f} bytes each")


def main() -> None:
    anyio.run(run, backend_options=virtual_time.asyncio_options())


if __name__ == "__main__":
    main()

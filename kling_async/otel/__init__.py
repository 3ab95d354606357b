"""Shows a client's tasks as OpenTelemetry spans and metrics: ``Kling(hooks=[Telemetry()])``.

Every name is in docs/telemetry.md. Keys, prompts and media are in none of them.
"""

from __future__ import annotations

try:
    import opentelemetry.trace as _opentelemetry
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'telemetry needs OpenTelemetry: pip install "kling_async[otel]"'
    ) from error

from kling_async.otel._telemetry import Telemetry

__all__ = ["Telemetry"]

del _opentelemetry

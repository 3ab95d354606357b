"""Retention: jobs that ended long ago are deleted."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import anyio
from dbos import DBOSClient

from kling_async.engines._names import FILES, TASK, Names
from kling_async.engines._presence import Presence

ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

_LOG = logging.getLogger("kling_async")

_HOUR = 3600.0
_AT_ONCE = 500
_BREATH = 0.1
_DUTY = "retention"


async def retain(database: DBOSClient, presence: Presence, names: Names, seconds: float) -> None:
    """Delete what ended more than *seconds* ago, every hour; one worker of all does."""
    while True:
        try:
            if await presence.bury(_DUTY):
                try:
                    await delete_ended(database, names, seconds)
                finally:
                    with anyio.CancelScope(shield=True):
                        await presence.buried(_DUTY)
        except Exception as error:
            _LOG.warning("old jobs cannot be deleted now: %r", error)
        await anyio.sleep(_HOUR)


async def delete_ended(database: DBOSClient, names: Names, seconds: float) -> None:
    """Delete what ended more than *seconds* ago."""
    before = datetime.now(UTC) - timedelta(seconds=seconds)
    while True:
        rows = await database.list_workflows_async(
            status=ENDED,
            name=[TASK, FILES],
            workflow_id_prefix=[f"{names.tasks}:", f"{names.files}:"],
            completed_before=before.isoformat(),
            limit=_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        if not rows:
            return
        await database.delete_workflows_async([row.workflow_id for row in rows])
        await anyio.sleep(_BREATH)

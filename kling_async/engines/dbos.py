"""Many machines: one account's batches and web backends as DBOS workflows in PostgreSQL.

asyncio only, as DBOS is.
"""

from __future__ import annotations

try:
    import dbos as _dbos
    import psycopg as _psycopg
except ModuleNotFoundError as error:
    raise ModuleNotFoundError('this engine needs DBOS: pip install "kling_async[dbos]"') from error

# DBOS is to know them before it is launched, here or by the app.
import kling_async.engines._workflows as _workflows
from kling_async.engines._fleet import KlingDBOS
from kling_async.engines._job import Job, JobState, JobStatus

__all__ = ["Job", "JobState", "JobStatus", "KlingDBOS"]

del _dbos, _psycopg, _workflows

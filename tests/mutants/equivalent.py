"""Mutants that no test can tell from the product, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAMES = "nobody reads the value of a reason to stop, only which one it is"
_BOUNDARY = "a moment of a clock that counts nanoseconds or microseconds: nobody meets it exactly"

_TWICE = "looked at twice, under the row's lock: only without both looks is anything wrong"

EQUIVALENT: Final[Mapping[str, str]] = {
    "job/finish: COALESCE(frames, '[]') -> frames": "what is recorded is an error, which has frames",
    "job/claim: , due.id #1 -> nothing": "the index that the claim walks ends with the id; tests/plans pin the walk",
    "job/finish: WHEN verdict.status = 'pending' -> true (#2)": "only another round has a delay",
    "job/rescue: WHERE job.status = 'running' -> true": _TWICE,
    "job/rescue: AND job.lease_expires_at < now(): < -> <=": _TWICE,
    "job/rescue: AND job.lease_expires_at < CASE job.status WHEN 'running' THEN now() END -> true": _TWICE,
    "job/rescue: AND job.lease_expires_at < CASE job.status WHEN 'running' THEN now() END: < -> <=": _TWICE,
    "job/rescue: AND crash.ended_at > now() - interval '1 day': > -> >=": _BOUNDARY,
    "jobplane.retry: without case _ in `match wire.kind:`": "falling out of the match returns None too",
    "jobplane.worker.executor: condition turned in `if TYPE_CHECKING:`": "an import for the type checker alone",
    "jobplane.worker.executor: '_AsyncHandler' -> 'XX_AsyncHandler' in "
    '`result = await cast("_AsyncHandler", task.handler)(*args, **kwargs)`': "cast() does nothing at run time",
    "jobplane.worker.executor: GtE -> Gt in `if started >= claim.lease_ends - self._margin:`": _BOUNDARY,
    "jobplane.worker.slots: Gt -> GtE in `if running.stopped_at > stubborn:`": _BOUNDARY,
    "jobplane.worker.slots: 'cancelled' -> 'XXcancelled' in `CANCELLED = \"cancelled\"`": _NAMES,
    "jobplane.worker.slots: 'timeout' -> 'XXtimeout' in `TIMEOUT = \"timeout\"`": _NAMES,
    "jobplane.worker.slots: 'lost' -> 'XXlost' in `LOST = \"lost\"`": _NAMES,
    "jobplane.worker.slots: 'shutdown' -> 'XXshutdown' in `SHUTDOWN = \"shutdown\"`": _NAMES,
}

"""Every log line of a worker, written here and nowhere else: a subscriber of its events.

| event                          | level   | says                                                             |
|--------------------------------|---------|------------------------------------------------------------------|
| JobFinished                    | INFO    | type, id, outcome, attempt, duration, queue; the error's type and place |
| JobsClaimed                    | DEBUG   | how many from which queue                                        |
| JobStarted, JobsReported       | DEBUG   | which                                                            |
| JobLost, LoopBlocked           | WARNING | why; which types were running                                    |
| ListeningPaused                | WARNING | what it means, and what to look at                               |
| ResultNotStored                | WARNING | which, and the rule that its result breaks                       |
| JobSetApart                    | WARNING | which, and how many workers died with it                         |
| RetryPolicyFailed              | WARNING | which job, and what was wrong with the policy's answer           |
| ServiceFailed                  | WARNING | which service, the error, when it tries again; repeats are DEBUG |
| JobsRescued, JobsPruned        | INFO    | how many                                                         |
| WorkerStarted, -Stopping, -Stopped, DatabaseRecovered, ListeningResumed | INFO | what the event holds           |

Never a payload, a result or the message of a handler's error: those may hold secrets, and are kept with the job.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from jobplane.context import current_job_id
from jobplane.errors import InvalidInputError
from jobplane.events import (
    DatabaseRecovered,
    Events,
    JobFinished,
    JobLost,
    JobsClaimed,
    JobSetApart,
    JobsPruned,
    JobsReported,
    JobsRescued,
    JobStarted,
    ListeningPaused,
    ListeningResumed,
    LoopBlocked,
    ResultNotStored,
    RetryPolicyFailed,
    ScheduleTicked,
    ServiceFailed,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from jobplane.failure import report_of
from jobplane.observability.records import about, summary_of

logger: Final = logging.getLogger("jobplane.worker")
REPEAT_AFTER: Final = 30.0
"""Seconds for which further failures of a failing service are worth DEBUG only."""


class JobIdFilter(logging.Filter):
    """Gives every record the id of the job that it was written under: put it on a handler.

    Records of JobContext.logger have it already; this reaches the lines of libraries that handlers call.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass, with job_id set (None outside of jobs)."""
        if not hasattr(record, "job_id"):
            job_id = current_job_id.get()
            record.job_id = None if job_id is None else str(job_id)
        return True


class LogSubscriber:
    """Writes the lines of one worker. Subscribes only to what the level lets through: a busy worker ends
    thousands of jobs each second, and an event that nobody wants is not even made.
    """

    def __init__(self, events: Events) -> None:
        self._warned_at: dict[str, float] = {}
        if logger.isEnabledFor(logging.DEBUG):
            events.subscribe(JobsClaimed, self._jobs_claimed)
            events.subscribe(JobStarted, self._job_started)
            events.subscribe(JobsReported, self._jobs_reported)
        if logger.isEnabledFor(logging.INFO):
            events.subscribe(JobFinished, self._job_finished)
            events.subscribe(JobsRescued, self._jobs_rescued)
            events.subscribe(JobsPruned, self._jobs_pruned)
            events.subscribe(ScheduleTicked, self._schedule_ticked)
            events.subscribe(WorkerStarted, self._worker_started)
            events.subscribe(WorkerStopping, self._worker_stopping)
            events.subscribe(WorkerStopped, self._worker_stopped)
            events.subscribe(DatabaseRecovered, self._recovered)
            events.subscribe(ListeningResumed, self._listening_resumed)
        events.subscribe(JobLost, self._job_lost)
        events.subscribe(JobSetApart, self._job_set_apart)
        events.subscribe(ResultNotStored, self._result_not_stored)
        events.subscribe(RetryPolicyFailed, self._retry_policy_failed)
        events.subscribe(LoopBlocked, self._loop_blocked)
        events.subscribe(ListeningPaused, self._listening_paused)
        events.subscribe(ServiceFailed, self._service_failed)

    # -- jobs ----------------------------------------------------------------------------------------

    def _job_finished(self, event: JobFinished) -> None:
        claim, milliseconds = event.claim, event.seconds * 1000
        outcome, delay, error = summary_of(event.outcome)
        facts = about(claim, "JobFinished")
        facts.update(outcome=outcome, queue=claim.queue, duration_ms=round(milliseconds, 3))
        again = cause = ""
        if delay is not None:
            facts.update(again_in_s=delay.total_seconds())
            again = f", again in {delay.total_seconds():.1f} s,"
        if error is not None:
            where = error.frames[-1] if error.frames else ""
            facts.update(error_type=error.type, error_at=where)
            cause = f" {error.type} at {where}" if where else f" {error.type}"
        logger.info(
            "%s %s %s%s attempt=%d/%d %.1f ms queue=%s%s",
            claim.type,
            facts["job_id"],
            outcome,
            again,
            claim.attempt,
            claim.max_attempts,
            milliseconds,
            claim.queue,
            cause,
            extra=facts,
        )

    def _job_started(self, event: JobStarted) -> None:
        claim = event.claim
        logger.debug(
            "%s %s started attempt=%d/%d",
            claim.type,
            claim.id,
            claim.attempt,
            claim.max_attempts,
            extra=about(claim, "JobStarted"),
        )

    def _jobs_claimed(self, event: JobsClaimed) -> None:
        logger.debug(
            "claimed %d from %s",
            len(event.claims),
            event.queue,
            extra={"event": "JobsClaimed", "queue": event.queue},
        )

    def _jobs_reported(self, event: JobsReported) -> None:
        logger.debug("outcomes written: %d", len(event.ids), extra={"event": "JobsReported"})

    def _job_lost(self, event: JobLost) -> None:
        claim = event.claim
        logger.warning(
            "%s %s lost: %s; another worker may run it",
            claim.type,
            claim.id,
            event.reason,
            extra=about(claim, "JobLost"),
        )

    def _job_set_apart(self, event: JobSetApart) -> None:
        claim = event.claim
        logger.warning(
            "%s %s was in hand when %d workers died: it runs alone now",
            claim.type,
            claim.id,
            claim.crashes,
            extra=about(claim, "JobSetApart"),
        )

    def _result_not_stored(self, event: ResultNotStored) -> None:
        claim = event.claim
        logger.warning(
            "%s %s completed, but its result was not stored: %s",
            claim.type,
            claim.id,
            event.reason,
            extra=about(claim, "ResultNotStored"),
        )

    def _retry_policy_failed(self, event: RetryPolicyFailed) -> None:
        claim, error = event.claim, report_of(event.error)
        facts = about(claim, "RetryPolicyFailed")
        where = error.frames[-1] if error.frames else ""
        facts.update(error_type=error.type, error_at=where)
        # An answer that is no delay was refused by us, in words of ours; what a policy raises may hold anything.
        ours = isinstance(event.error, InvalidInputError)
        logger.warning(
            "%s %s: its retry policy failed, the default policy decides: %s",
            claim.type,
            claim.id,
            error.message if ours else f"{error.type} at {where}",
            extra=facts,
        )

    def _jobs_rescued(self, event: JobsRescued) -> None:
        logger.info("rescued %d jobs whose lease had expired", len(event.ids), extra={"event": "JobsRescued"})

    def _jobs_pruned(self, event: JobsPruned) -> None:
        logger.info("pruned %d jobs past their retention", event.count, extra={"event": "JobsPruned"})

    def _schedule_ticked(self, event: ScheduleTicked) -> None:
        made = "no job: its unique key is taken" if event.job_id is None else f"job {event.job_id}"
        logger.info(
            "schedule %s ticked at %s: %s",
            event.schedule,
            event.tick.isoformat(),
            made,
            extra={"event": "ScheduleTicked", "schedule": event.schedule},
        )

    # -- the worker ----------------------------------------------------------------------------------

    def _worker_started(self, event: WorkerStarted) -> None:
        queues = ", ".join(f"{name}:{limit}" for name, limit in event.queues.items())
        logger.info(
            "worker %s started: queues %s; types %s",
            event.worker_id,
            queues,
            ", ".join(event.types),
            extra={"event": "WorkerStarted", "worker_id": event.worker_id},
        )

    def _worker_stopping(self, event: WorkerStopping) -> None:
        logger.info(
            "worker %s is stopping: %d jobs have %g s to finish",
            event.worker_id,
            event.running,
            event.grace,
            extra={"event": "WorkerStopping", "worker_id": event.worker_id},
        )

    def _worker_stopped(self, event: WorkerStopped) -> None:
        logger.info(
            "worker %s stopped; interrupted %d",
            event.worker_id,
            event.released,
            extra={"event": "WorkerStopped", "worker_id": event.worker_id},
        )

    def _loop_blocked(self, event: LoopBlocked) -> None:
        logger.warning(
            "the event loop has not run for %.1f s: a handler blocks it (running: %s); "
            "make it a plain function, which gets a thread, or await what it waits for",
            event.seconds,
            ", ".join(event.types) or "nothing",
            extra={"event": "LoopBlocked"},
        )

    def _listening_paused(self, event: ListeningPaused) -> None:
        logger.warning(
            "more than %d notifications a second arrive: this worker stops listening for a while and looks for jobs "
            "every %g s. Any role that may connect can send them: look for NOTIFY or pg_notify in pg_stat_activity, "
            "and revoke CONNECT from roles that do not need this database",
            event.words_per_second,
            event.poll_interval,
            extra={"event": "ListeningPaused"},
        )

    def _listening_resumed(self, event: ListeningResumed) -> None:
        logger.info(
            "notifications wake this worker again, after %.0f s without",
            event.seconds,
            extra={"event": "ListeningResumed"},
        )

    def _service_failed(self, event: ServiceFailed) -> None:
        now = time.monotonic()
        recently = now - self._warned_at.get(event.service, -REPEAT_AFTER) < REPEAT_AFTER
        if not recently:
            self._warned_at[event.service] = now
        error = report_of(event.error)
        # Only the first line: what PostgreSQL adds in others may quote the row, and so the payload.
        words = error.message.partition("\n")[0] or "no message"
        logger.log(
            logging.DEBUG if recently else logging.WARNING,
            "%s failed: %s: %s; next try in %.1f s",
            event.service,
            error.type,
            words,
            event.retry_in,
            extra={"event": "ServiceFailed", "service": event.service, "error_type": error.type},
        )

    def _recovered(self, event: DatabaseRecovered) -> None:
        self._warned_at.pop(event.service, None)
        logger.info(
            "%s works again", event.service, extra={"event": "DatabaseRecovered", "service": event.service}
        )

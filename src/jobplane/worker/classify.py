"""What came of a handler, as the outcome to write: of what it returned, of what it raised, of why it was stopped."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from jobplane.errors import InvalidArgumentsError, InvalidInputError
from jobplane.events import Events, RetryPolicyFailed
from jobplane.failure import ErrorReport, message_of, report_of
from jobplane.job import Claim
from jobplane.limits import MAX_RESULT_BYTES, MAX_SCHEDULE_AHEAD, as_timedelta
from jobplane.outcome import (
    Cancel,
    Cancelled,
    Completed,
    Fail,
    Failed,
    Lost,
    Outcome,
    Released,
    Rescheduled,
    Retry,
    Snooze,
    Snoozed,
)
from jobplane.payload import encode_bounded
from jobplane.retry import DEFAULT_RETRY, RetryPolicy, checked_delay, decode_policy
from jobplane.task import AnyTask
from jobplane.worker.slots import Running, StopReason

_DONE = Completed()
_PLACE: Final = re.compile(r"[A-Za-z_\d.\[\]]{1,200}")


def refusal(claim: Claim, task: AnyTask) -> ErrorReport | None:
    """Why a claimed job must not be run; None when it may."""
    if claim.attempt > claim.max_attempts:
        return ErrorReport(
            "AttemptsExhausted", f"attempt {claim.attempt} of {claim.max_attempts} was not run"
        )
    if task.settings.at_most_once and claim.attempt > 1:
        return ErrorReport("AtMostOnce", "an earlier attempt may have run: this type must not run twice")
    if task.settings.has_one_attempt and claim.attempt - (claim.attempts_at_retry or 0) > 1:
        # Whoever made the job did not know its task: a program in SQL, or a client without it.
        return ErrorReport(
            "AttemptsExhausted",
            f"attempt {claim.attempt} was not run: its task is declared with max_attempts=1, whatever the job allows "
            f"({claim.max_attempts}); an explicit retry runs it once more",
        )
    return None


def is_last_attempt(claim: Claim, task: AnyTask) -> bool:
    """Whether no attempt follows by itself, by the job's own limit or because its task has one attempt only."""
    return claim.attempt >= claim.max_attempts or task.settings.has_one_attempt


def decided(result: object, running: Running, task: AnyTask) -> Outcome:
    """The outcome of a handler that returned. Raises InvalidInputError for a decision that cannot be stored."""
    match result:
        case None:
            return _DONE
        case Snooze(delay=delay):
            return Snoozed(_checked(delay))
        case Cancel(reason=reason):
            return Cancelled(ErrorReport("Cancel", message_of(str(reason))))
        case Fail(reason=reason):
            return Failed(ErrorReport("Fail", message_of(str(reason))))
        case Retry(delay=delay, reason=reason):
            report = ErrorReport("Retry", message_of(str(reason)))
            return _again(running.claim, task, report, _checked(delay))
        case _:
            return _completed(result) if task.settings.store_result else _DONE


def failed(error: BaseException, claim: Claim, task: AnyTask, events: Events) -> Outcome:
    """The outcome of a handler that raised."""
    report = report_of(error)
    wait = _wait_after(error, claim, task, events)
    return Failed(report) if wait is None else _again(claim, task, report, wait)


def stopped(running: Running, task: AnyTask, error: BaseException, events: Events) -> Outcome:
    """The outcome of a handler that ended because it was told to stop."""
    claim = running.claim
    match running.stop_reason:
        case StopReason.LOST:
            return Lost()
        case StopReason.CANCELLED:
            return Cancelled(ErrorReport("Cancelled", "cancelled on request"))
        case StopReason.TIMEOUT:
            report = ErrorReport(
                "TimeoutError",
                f"no end after {running.deadline - running.started:g} s",
                report_of(error).frames,
            )
            wait = _wait_after(TimeoutError(), claim, task, events)
            return Failed(report, "timeout") if wait is None else _again(claim, task, report, wait, "timeout")
        case _ if not running.begun:
            # A synchronous handler that still waited for a thread, or a task without its first step.
            return Released()
        case _:
            report = ErrorReport(
                "Interrupted", "its worker was stopped before the handler ended", report_of(error).frames
            )
            return Failed(report, "interrupted") if is_last_attempt(claim, task) else Released(report)


def _again(
    claim: Claim, task: AnyTask, report: ErrorReport, delay: timedelta, reason: str = "failed"
) -> Outcome:
    if is_last_attempt(claim, task):
        return Failed(report, reason)
    return Rescheduled(report, max(delay, timedelta(0)), reason)


def _wait_after(error: BaseException, claim: Claim, task: AnyTask, events: Events) -> timedelta | None:
    """How long to wait before the next attempt; None when the policy wants none."""
    policy = DEFAULT_RETRY if task.settings.retry is None else task.settings.retry
    try:
        # Arguments that do not fit are retried whatever the policy says: the next deploy may understand them.
        if not policy.retries(error) and not isinstance(error, InvalidArgumentsError):
            return None
        return checked_delay(_delays(claim, policy).delay(claim.attempt))
    except BaseException as mistake:  # noqa: BLE001 - a policy of the user's own may raise anything: the outcome stands
        events.emit(RetryPolicyFailed(claim, mistake))
        return DEFAULT_RETRY.delay(claim.attempt)


def _delays(claim: Claim, policy: RetryPolicy) -> RetryPolicy:
    """Whose delays count: those stored with the job, else its task's."""
    own = None if claim.retry_policy is None else decode_policy(claim.retry_policy)
    return policy if own is None else own


def _checked(delay: object) -> timedelta:
    # What a handler decided must be storable, or it would hold up the outcomes of others.
    limit = "must be a timedelta or seconds, at most a year (366 days)"
    checked = as_timedelta("delay", delay, limit)
    if checked > MAX_SCHEDULE_AHEAD:
        raise InvalidInputError("delay", delay, limit)
    return max(checked, timedelta(0))


def _completed(result: object) -> Outcome:
    # The work is done and its effects stand: a result that cannot be stored takes nothing away from that, and running the
    # job again would not make it storable. Whatever the class of a result raises while it is written counts as such.
    try:
        return Completed(encode_bounded("result", result, MAX_RESULT_BYTES))
    except InvalidInputError as error:
        # Whoever may not read results reads this: the place is told only where it looks like code.
        place = error.field if _PLACE.fullmatch(error.field) else "result"
        return Completed.without_result(message_of(f"{place} {error.limit}; got {error.value}"))
    except Exception as error:  # noqa: BLE001 - see above
        return Completed.without_result(f"writing it as JSON raised {report_of(error).type}")

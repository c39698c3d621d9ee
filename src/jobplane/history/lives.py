"""The life of each job, one transition after the other: what a transition must be, given the one before.

One look at each transition, and one small state for each job, however long the history is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from jobplane.history.legal import REPEATS, changes_of_attempts, is_legal, is_of_the_holder, may_be_session_of
from jobplane.history.record import Profile, Transition
from jobplane.history.violations import (
    BrokenChain,
    BrokenFence,
    ClaimAfterCancel,
    DoubleCompletion,
    EarlyStart,
    EarlySteal,
    EndedTwice,
    IllegalTransition,
    LateRecovery,
    LostJob,
    MiscountedAttempts,
    StaleWrite,
    TerminalLeft,
    TooManyAttempts,
    Violation,
)
from jobplane.job import TERMINAL, JobStatus


@dataclass(slots=True)
class Life:
    """What is known of one job after its last transition."""

    last: Transition
    """Its attributes are the job's."""
    first_epoch: int
    """Before the first known claim of this life."""
    spent: tuple[tuple[int, int], ...] = ()
    """Of each earlier life: the epoch before its first known claim, and its last."""
    held_since: datetime | None = None
    """The last accepted claim or renewal of the current epoch."""
    lost_since: datetime | None = None
    """As held_since of a claim that was rescued, until the next claim."""
    completed_epoch: int | None = None
    cancelled_unstarted: bool = False
    births: int = 1
    """A job that was pruned may be enqueued once more under its idempotency key."""
    retries: int = 0
    repeats: int = 0
    """Claims that were wanted beside the first one: after a failed attempt, a snooze or a retry."""
    snoozes: int = 0
    """Attempts that their handlers gave back."""
    unbegun: tuple[int, ...] = ()
    """Epochs whose attempt was given back because no handler began under them."""
    pruned: bool = False


@dataclass(slots=True)
class Lives:
    """All jobs of a history.

    Args:
        whole: whether the history begins with the first job.
        profile: how workers were set, where late recoveries are violations; else None.
    """

    whole: bool
    profile: Profile | None
    of: dict[UUID, Life] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the last accepted renewal of a claim that was lost to the next claim."""
    rescues: int = 0
    completions: int = 0
    claims: int = 0

    def take(self, now: Transition) -> None:
        """Look at the next transition of a job. Those of one job must come in the order of rev."""
        life = self.of.get(now.job_id)
        if life is None:
            self._begin(now)
            return
        was = life.last
        self._check_chain(was, now)
        if now.verb == "enqueue":
            self._be_born_again(life, now)
            return
        self._check_legal(now)
        self._check_ends(life, now)
        self._check_fence(life, was, now)
        self._check_attempts(was, now)
        self._follow(life, was, now)
        life.last = now

    def _begin(self, now: Transition) -> None:
        claimed = now.verb == "claim"
        life = self.of[now.job_id] = Life(now, now.epoch - claimed)
        if self.whole and (now.rev != 1 or now.before is not None):
            self._add(BrokenChain, now, f"its history begins with rev {now.rev}, {_told(now)}")
        self._check_legal(now)
        self._check_holder(now, now.worker_id)
        if now.attempts > now.max_attempts:
            self._add_too_many(now)
        self._follow(life, None, now)

    def _be_born_again(self, life: Life, now: Transition) -> None:
        self._check_legal(now)
        life.spent = (*life.spent, (life.first_epoch, life.last.epoch))
        life.last, life.first_epoch, life.births = now, now.epoch, life.births + 1
        life.held_since = life.lost_since = life.completed_epoch = None
        life.cancelled_unstarted = life.pruned = False

    def _check_chain(self, was: Transition, now: Transition) -> None:
        if now.rev != was.rev + 1:
            self._add(BrokenChain, now, f"after rev {was.rev} comes rev {now.rev}")
        elif now.before != was.after:
            self._add(
                BrokenChain,
                now,
                f"rev {was.rev} ({was.verb}) left it {_status(was.after)}, but rev {now.rev} ({now.verb}) found it "
                f"{_status(now.before)}",
            )
        elif now.before is not None and now.lease_was != was.lease_is:
            self._add(
                BrokenChain,
                now,
                f"rev {was.rev} ({was.verb}) left a lease until {was.lease_is}, but rev {now.rev} ({now.verb}) found "
                f"one until {now.lease_was}",
            )

    def _check_legal(self, now: Transition) -> None:
        before, after = now.before, now.after
        if now.verb == "delete":
            self._add(
                LostJob,
                now,
                f"was deleted while {_status(before)} by {now.actor!r}, not by jobplane's pruning",
            )
        elif before in TERMINAL and after is not None and after != before and now.verb != "retry":
            self._add(TerminalLeft, now, f"had {before}, and became {after} by {now.verb} (rev {now.rev})")
        elif not is_legal(now):
            self._add(IllegalTransition, now, f"rev {now.rev}: {_told(now)}")
        elif now.verb == "enqueue" and now.epoch != 0:
            self._add(BrokenFence, now, f"began under epoch {now.epoch} (rev {now.rev}), before any claim")

    def _check_ends(self, life: Life, now: Transition) -> None:
        if now.verb == "claim" and life.cancelled_unstarted:
            self._add(
                ClaimAfterCancel,
                now,
                f"was claimed (rev {now.rev}) after it had been cancelled while pending",
            )
        if now.after in TERMINAL and life.last.after in TERMINAL and now.verb != "other":
            self._add(
                EndedTwice,
                now,
                f"had {life.last.after}, and ended once more: {now.after} by {now.verb} (rev {now.rev})",
            )
        if now.after is JobStatus.COMPLETED and now.before is not JobStatus.COMPLETED:
            if life.completed_epoch == now.epoch:
                self._add(
                    DoubleCompletion, now, f"was completed twice under epoch {now.epoch} (rev {now.rev})"
                )
            life.completed_epoch = now.epoch

    def _check_fence(self, life: Life, was: Transition, now: Transition) -> None:
        due = was.epoch + (now.verb == "claim")
        if was.epoch == 0 and now.verb == "claim":
            # The first claim of a life counts on from the epochs of every job that was deleted.
            life.first_epoch = now.epoch - 1
            highest = max((last for _, last in life.spent), default=0)
            if now.epoch <= highest:
                says = f"was claimed under epoch {now.epoch} (rev {now.rev}), but had epochs up to {highest} before"
                self._add(BrokenFence, now, says)
        elif now.epoch != due:
            self._add(
                BrokenFence,
                now,
                f"epoch {was.epoch} became {now.epoch} by {now.verb} (rev {now.rev}); it had to be {due}",
            )
        self._check_holder(now, now.worker_id if now.verb == "claim" else was.worker_id)

    def _check_holder(self, now: Transition, holder: str | None) -> None:
        if not is_of_the_holder(now):
            return
        if holder is not None and not may_be_session_of(holder, now.actor):
            self._add(
                StaleWrite,
                now,
                f"{now.verb} of epoch {now.epoch} (rev {now.rev}) was written by {now.actor!r}, but {holder} held it",
            )
        elif now.worker_id != holder:
            self._add(
                StaleWrite,
                now,
                f"{now.verb} (rev {now.rev}) made {now.worker_id} the holder of epoch {now.epoch}, which {holder} held",
            )

    def _check_attempts(self, was: Transition, now: Transition) -> None:
        change = now.attempts - was.attempts
        if change not in changes_of_attempts(was.attempts, now):
            self._add(
                MiscountedAttempts,
                now,
                f"attempts went from {was.attempts} to {now.attempts} by {now.verb} (rev {now.rev})",
            )
        if now.max_attempts != was.max_attempts and (
            now.verb != "retry" or now.max_attempts < was.max_attempts
        ):
            self._add(
                MiscountedAttempts,
                now,
                f"the limit of attempts went from {was.max_attempts} to {now.max_attempts} by {now.verb} (rev {now.rev})",
            )
        if now.attempts > now.max_attempts and was.attempts <= was.max_attempts:
            self._add_too_many(now)

    def _add_too_many(self, now: Transition) -> None:
        self._add(
            TooManyAttempts, now, f"has begun {now.attempts} attempts of {now.max_attempts} (rev {now.rev})"
        )

    def _follow(self, life: Life, was: Transition | None, now: Transition) -> None:
        if was is not None and now.attempts < was.attempts:
            if now.verb in {"release", "rescue"}:
                life.unbegun += (now.epoch,)
            else:  # a snooze, or one of a job that was to be cancelled
                life.snoozes += 1
        life.repeats += now.verb in REPEATS
        life.retries += now.verb == "retry"
        life.pruned = now.verb == "prune"
        self.completions += now.verb == "complete"
        if now.verb == "claim":
            self._follow_claim(life, now)
        elif now.verb == "rescue":
            self._follow_rescue(life, now)
        elif now.verb == "renew":
            life.held_since = now.at
        if now.verb == "retry":
            life.cancelled_unstarted = False
        elif now.verb == "cancel" and now.before is JobStatus.PENDING:
            life.cancelled_unstarted = True
        if now.after is not JobStatus.RUNNING:
            life.held_since = None
        if now.verb not in {"rescue", "claim"}:
            # Something else happened to it: it need not be claimed at once any more.
            life.lost_since = None

    def _follow_claim(self, life: Life, now: Transition) -> None:
        self.claims += 1
        if now.at < now.scheduled_at:
            self._add(
                EarlyStart,
                now,
                f"was claimed {(now.scheduled_at - now.at).total_seconds():.3f} s before it was due (rev {now.rev})",
            )
        if life.lost_since is not None:
            took = now.at - life.lost_since
            self.recoveries.append(took.total_seconds())
            if self.profile is not None and took > self.profile.recovery:
                self._add(
                    LateRecovery,
                    now,
                    f"was claimed {took.total_seconds():.3f} s after the last renewal of a lost worker; the bound is "
                    f"{self.profile.recovery.total_seconds():.3f} s (rev {now.rev})",
                )
        life.held_since, life.lost_since = now.at, None

    def _follow_rescue(self, life: Life, now: Transition) -> None:
        self.rescues += 1
        if now.lease_was is None and now.before is JobStatus.RUNNING:
            self._add(EarlySteal, now, f"was taken back from {now.worker_id} without a lease (rev {now.rev})")
        elif now.lease_was is not None and now.lease_was > now.at:
            self._add(
                EarlySteal,
                now,
                f"was taken back from {now.worker_id} {(now.lease_was - now.at).total_seconds():.3f} s before its "
                f"lease ended (rev {now.rev})",
            )
        life.lost_since = life.held_since if now.after is JobStatus.PENDING else None

    def _add(self, kind: type[Violation], now: Transition, says: str) -> None:
        self.violations.append(kind(now.job_id, f"job {now.job_id} {says}"))


def _told(now: Transition) -> str:
    return f"{now.verb} from {_status(now.before)} to {_status(now.after)}"


def _status(status: JobStatus | None) -> str:
    return "nothing" if status is None else str(status)

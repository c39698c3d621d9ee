"""The smallest histories in which a mistake of the state machine shows (F2, F3, F19, F22, F24, F25): I5, I6, I8, I15 to I19.

Each is one that made another queue lose, repeat or block jobs; tests/faults/bugs.py plants that mistake.
"""

from __future__ import annotations

import asyncio

from jobplane import JobStatus
from jobplane.outcome import Snoozed
from jobplane.schedule import decide
from tests.faults.hands import BRIEF, hand
from tests.faults.run import PROFILE, FaultRun


async def test_f3_writes_under_an_old_epoch_are_refused(fault_run: FaultRun) -> None:
    """A lease runs out, another worker claims the job; then the first renews it and completes it."""
    run = fault_run
    await run.client.enqueue("work", {}, key="fenced")
    async with hand(run, "zombie") as zombie, hand(run, "heir") as heir:
        (old,) = await zombie.claim(lease=BRIEF)
        await heir.rescue_one(run)
        (new,) = await heir.claim()

        reports = await zombie.store.renew([old], PROFILE.lease)
        stale = await zombie.store.complete([old])
        ours = await heir.store.complete([new])

    await run.verdict()
    assert [report.ours for report in reports] == [False]
    assert (len(stale), len(ours)) == (0, 1)


async def test_f3_a_renewal_under_way_wins_against_the_rescue(fault_run: FaultRun) -> None:
    """The sweeper sees an expired lease, and a renewal commits before the sweeper's update."""
    run = fault_run
    await run.client.enqueue("work", {}, key="renewed")
    async with hand(run, "holder") as holder, hand(run, "sweeper") as sweeper:
        (claim,) = await holder.claim(lease=BRIEF)

        async def has_expired() -> bool:
            return (
                await run.fetchval("SELECT count(*) FROM control_plane.jobs WHERE lease_expires_at < now()")
                == 1
            )

        await run.until(has_expired, "the lease to run out")
        renew = holder.database.statement("job/renew")
        values = renew.positions({"ids": [claim.id], "epochs": [claim.epoch], "lease": 60.0})
        async with holder.database.transaction() as connection:
            await connection.fetch(renew.numbered, *values)
            sweeping = asyncio.create_task(sweeper.store.rescue())

            async def has_met_the_lock() -> bool:
                query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
                return sweeping.done() or await run.fetchval(query, sweeper.session) > 0

            await run.until(has_met_the_lock, "the sweeper to meet the lock")
        await sweeping
        await holder.store.complete([claim])
        # What an early steal left behind must not hide it.
        for stolen in await sweeper.claim():
            await sweeper.store.complete([stolen])
    figures = await run.verdict()
    assert figures.rescues == 0


async def test_f2_every_claim_has_an_epoch_of_its_own(fault_run: FaultRun) -> None:
    """An attempt that is given back does not give back its epoch."""
    run = fault_run
    await run.client.enqueue("work", {}, key="snoozed")
    async with hand(run, "a") as first, hand(run, "b") as second:
        (claim,) = await first.claim()
        await first.store.finish([(claim, Snoozed(BRIEF * 0))])
        (again,) = await second.claim()
        await second.store.complete([again])
    await run.verdict()
    assert again.epoch == claim.epoch + 1


async def test_f19_a_job_whose_workers_die_runs_out_of_attempts(fault_run: FaultRun) -> None:
    """I6: 2 attempts, the second one alone, each ended by the death of its worker: failed, and not a third time."""
    run = fault_run
    made = await run.client.enqueue("work", {}, key="poison", max_attempts=2)
    claims = 0
    async with hand(run, "dying") as worker, hand(run, "sweeper") as sweeper:
        while claims < 4 and (claimed := await worker.claim(lease=BRIEF)):
            if claimed[0].crashes:  # a suspect begins alone, and its worker says so first
                assert await worker.store.isolate(claimed[0])
            claims += 1
            await sweeper.rescue_one(run)
    job = await run.job(made.id)
    await run.verdict(settled=False)
    assert claims == 2, f"I6: a job of max_attempts=2 was begun {claims} times"
    assert (job.status, job.attempts, job.max_attempts) == (JobStatus.FAILED, 2, 2)


async def test_f22_a_sweeper_of_an_older_release_leaves_new_types_alone(fault_run: FaultRun) -> None:
    """A worker with a new type dies; an older one takes the job back, and neither claims nor ends it."""
    run = fault_run
    made = await run.client.enqueue("novel", {}, key="novel", max_attempts=5)
    async with hand(run, "newer") as newer, hand(run, "older") as older:
        await newer.claim(lease=BRIEF, types=("work", "novel"))
        assert await older.claim() == []
        await older.rescue_one(run)
        taken_back = await run.job(made.id)
        for again in await newer.claim(types=("work", "novel")):
            await newer.store.complete([again])
    await run.verdict()
    assert taken_back.status is JobStatus.PENDING, (
        "I18: a type that this worker does not know waits for one that does"
    )


async def test_f21_errors_that_no_database_stores_are_recorded_all_the_same(fault_run: FaultRun) -> None:
    """A message with NUL and half a surrogate pair: the attempt is recorded, and the next one comes."""
    run = fault_run
    run.spawn()
    made = await run.client.enqueue("raise_garbage", {}, key="garbage", max_attempts=2)

    async def has_failed() -> bool:
        return await run.count("failed") == 1

    await run.until(has_failed, "the job to fail")
    await run.settle()
    job = await run.job(made.id)
    await run.verdict()
    assert job.attempts == 2, (
        f"I19: the outcome of the first attempt was not recorded as it was: {job.last_error}"
    )
    assert job.last_error is not None
    assert "before" in job.last_error
    assert "after" in job.last_error, f"I19: {job.last_error}"


async def test_f1_a_claim_takes_no_more_than_it_asked_for(fault_run: FaultRun) -> None:
    """50 jobs wait, and one is asked for."""
    run = fault_run
    for number in range(50):
        await run.client.enqueue("work", {}, key=f"waiting {number}")
    async with hand(run, "modest") as modest:
        claims = await modest.claim(limit=1)
        await modest.store.complete(claims)
        while more := await modest.claim(limit=10):
            claims += more
            await modest.store.complete(more)
            assert len(more) <= 10, f"I16: {len(more)} jobs were claimed where 10 were asked for"
    await run.verdict()
    assert len(claims) == 50


async def test_f24_a_job_with_a_unique_key_is_retried(fault_run: FaultRun) -> None:
    """Its first attempt fails: the key that it holds does not stand in its own way."""
    run = fault_run
    run.spawn()
    made = await run.client.enqueue("fail_once", {}, key="unique", unique_key="only one", max_attempts=3)
    await run.settle()

    async def has_ended() -> bool:
        return bool((await run.job(made.id)).status in (JobStatus.COMPLETED, JobStatus.FAILED))

    await run.until(has_ended, "the job to end")
    await run.settle()
    outcomes = [row["outcome"] for row in await run.fetch("SELECT outcome FROM control_plane.job_attempts")]
    figures = await run.verdict()
    assert outcomes == ["failed"], f"I15: through a retry, the key was in the job's own way: {outcomes}"
    assert figures.completions == 1


async def test_f25_a_lost_job_gives_its_place_under_the_limit_back(fault_run: FaultRun) -> None:
    """One at a time, and the worker that has it is killed: another goes on within L + s + p."""
    run = fault_run
    await run.queue.limit_queue("default", 1)
    run.limits = {"default": 1}
    for _ in range(2):
        run.spawn()
    await run.ready()
    for number in range(2):
        await run.client.enqueue("work", {"seconds": 0.5}, key=f"limited {number}")
    await run.started(1)
    (begun,) = run.journal.entries("start")
    await run.kill(next(worker for worker in run.workers if worker.pid == begun["pid"]))
    await run.completed(2, 3 * PROFILE.recovery.total_seconds())
    await run.settle()
    await run.verdict(kills=1)


async def test_f23_two_schedulers_make_a_tick_once(fault_run: FaultRun) -> None:
    """Both decide on the same ticks before either has made them."""
    run = fault_run
    await run.every_second("ticks", "default")
    async with hand(run, "a") as first, hand(run, "b") as second:
        for _ in range(3):

            async def is_due() -> bool:
                looks = await first.schedules.due(0.0, 10)
                return any(decide(look.watched, look.now).ticks for look in looks)

            await run.until(is_due, "a tick to be due")
            looks = [await one.schedules.due(0.0, 10) for one in (first, second)]
            decisions = [[decide(look.watched, look.now) for look in seen] for seen in looks]
            await asyncio.gather(first.schedules.tick(decisions[0]), second.schedules.tick(decisions[1]))
        while claims := await first.claim(limit=10):
            await first.store.complete(claims)
    await run.verdict()

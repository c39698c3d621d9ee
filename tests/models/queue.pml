/* The life of a job under two workers, a sweeper, an operator and time, for spin. docs/design/formal_model.md
 * says what this leaves out. An atomic block is one statement of the database; between two blocks anyone acts.
 * A worker never knows how old its token is: it may have been stopped, or cut off, for as long as you like.
 *
 * Each -D below breaks one rule, as some queue really did; spin must find a way to break a promise then.
 */
#define JOBS 2
#define MAX_ATTEMPTS 2

#ifndef CRASHES
#define CRASHES 1 /* in all; likewise the next two */
#endif
#ifndef GIVEN_BACK
#define GIVEN_BACK 1
#endif
#ifndef RETRIES
#define RETRIES 1
#endif

mtype = { PENDING, RUNNING, COMPLETED, FAILED, CANCELLED };

typedef Row {
    mtype status = PENDING;
    byte epoch;             /* lease_epoch */
    byte attempts;
    byte max_attempts = MAX_ATTEMPTS;
    bool expired;           /* lease_expires_at < now() */
    bool cancel_requested;
    /* What the promises speak of. No statement reads these. */
    byte claims;            /* so many claims were there ever */
    byte spent;             /* attempts that were really begun, less those given back */
    byte completions        /* of the present claim */
};

typedef Token {
    byte epoch;             /* 0: none */
    byte number             /* which of the row's claims it is from */
};

typedef Hand {
    Token token[JOBS]
};

Row job[JOBS];
Hand hand[2];
byte crashes, given_back, retries;

#define TERMINAL(s) (s != PENDING && s != RUNNING)
#define HOLDS(w, j) (hand[w].token[j].epoch != 0)
#define CURRENT(w, j) (job[j].epoch == hand[w].token[j].epoch)
#define FENCED(w, j) (job[j].status == RUNNING && CURRENT(w, j))

#ifdef COMPLETE_WITHOUT_EPOCH
#define MAY_COMPLETE(w, j) (job[j].status == RUNNING)
#else
#ifdef TERMINAL_NOT_FINAL
#define MAY_COMPLETE(w, j) CURRENT(w, j)
#else
#define MAY_COMPLETE(w, j) FENCED(w, j)
#endif
#endif

#ifdef HEARTBEAT_BY_ID
#define MAY_RENEW(w, j) (job[j].status == RUNNING)
#else
#define MAY_RENEW(w, j) FENCED(w, j)
#endif

#ifdef RESCUE_BY_ID
#define MAY_RESCUE(j) true
#else
#define MAY_RESCUE(j) (job[j].status == RUNNING && job[j].expired)
#endif

/* I10: what has ended does not change; retry alone does not come through here. */
inline become(j, to) {
    assert(!TERMINAL(job[j].status));
    job[j].status = to;
    job[j].expired = false
}

/* I5: a write is accepted from the holder of the present claim only. */
inline accepted(w, j) {
    assert(hand[w].token[j].number == job[j].claims)
}

inline forget(w, j) {
    hand[w].token[j].epoch = 0;
    hand[w].token[j].number = 0
}

/* The answer to a write may be lost: then the worker keeps its token, and writes again at any time. */
inline answered(w, j) {
    if
    :: forget(w, j)
    :: skip
    fi
}

inline claim(w, j) {
    job[j].status = RUNNING;
    job[j].expired = false;
    job[j].completions = 0;
    job[j].claims++;
    job[j].spent++;
#ifndef ATTEMPT_AT_FINISH
    job[j].attempts++;
#endif
#ifdef EPOCH_FROM_ATTEMPTS
    job[j].epoch = job[j].attempts;
#else
    job[j].epoch++;
#endif
    assert(job[j].spent <= job[j].max_attempts);       /* I6 */
    hand[w].token[j].epoch = job[j].epoch;
    hand[w].token[j].number = job[j].claims
}

inline renew(w, j) {
    if
    :: MAY_RENEW(w, j) -> accepted(w, j); job[j].expired = false
    :: else -> forget(w, j)
    fi
}

inline complete(w, j) {
    if
    :: MAY_COMPLETE(w, j) ->
        accepted(w, j);
        job[j].completions++;
        assert(job[j].completions <= 1);                /* I5 */
        become(j, COMPLETED);
        answered(w, j)
    :: else -> forget(w, j)
    fi
}

inline count_at_finish(j) {
#ifdef ATTEMPT_AT_FINISH
    job[j].attempts++
#else
    skip
#endif
}

/* The handler failed: another round, while attempts are left. */
inline fail(w, j) {
    if
    :: FENCED(w, j) ->
        accepted(w, j);
        count_at_finish(j);
        if
        :: job[j].attempts >= job[j].max_attempts -> become(j, FAILED)
        :: else -> again(j)
        fi;
        answered(w, j)
    :: else -> forget(w, j)
    fi
}

/* A snooze, or the release of a job whose handler has not begun. */
inline give_back(w, j) {
    if
    :: FENCED(w, j) ->
        accepted(w, j);
        given_back++;
        job[j].spent--;
#ifndef ATTEMPT_AT_FINISH
        job[j].attempts--;
#endif
        again(j);
        answered(w, j)
    :: else -> forget(w, j)
    fi
}

inline again(j) {
    if
    :: job[j].cancel_requested -> become(j, CANCELLED)
    :: else -> become(j, PENDING)
    fi
}

inline rescue(j) {
    assert(job[j].expired);                             /* I8 */
    if
    :: job[j].cancel_requested -> become(j, CANCELLED)
#ifdef RESCUE_GIVES_BACK
    :: !job[j].cancel_requested && job[j].attempts >= job[j].max_attempts -> job[j].attempts--; become(j, PENDING)
#else
    :: !job[j].cancel_requested && job[j].attempts >= job[j].max_attempts -> become(j, FAILED)
#endif
    :: else -> become(j, PENDING)
    fi
}

inline cancel(j) {
    job[j].cancel_requested = true;
    if
    :: job[j].status == PENDING -> become(j, CANCELLED)
    :: else -> skip
    fi
}

inline retry(j) {
    retries++;
    if
    :: job[j].attempts >= job[j].max_attempts -> job[j].max_attempts++
    :: else -> skip
    fi;
    job[j].cancel_requested = false;
    job[j].status = PENDING
}

#define WORK_ON(w, j) \
    :: atomic { job[j].status == PENDING -> claim(w, j) } \
    :: atomic { HOLDS(w, j) -> renew(w, j) } \
    :: atomic { HOLDS(w, j) -> complete(w, j) } \
    :: atomic { HOLDS(w, j) -> fail(w, j) } \
    :: atomic { HOLDS(w, j) && given_back < GIVEN_BACK -> give_back(w, j) }

proctype Worker(byte w) {
end:
    do
    WORK_ON(w, 0)
    WORK_ON(w, 1)
    :: atomic { crashes < CRASHES && (HOLDS(w, 0) || HOLDS(w, 1)) ->
        crashes++;
        forget(w, 0);
        forget(w, 1)
    }
    od
}

/* It looks in one statement and takes in the next, although job/rescue does both in one: the second look is enough. */
proctype Sweeper() {
    bool seen[JOBS];
end:
    do
    :: atomic {
        (job[0].status == RUNNING && job[0].expired) || (job[1].status == RUNNING && job[1].expired) ->
        seen[0] = job[0].status == RUNNING && job[0].expired;
        seen[1] = job[1].status == RUNNING && job[1].expired
    };
    atomic {
        if
        :: seen[0] && MAY_RESCUE(0) -> rescue(0)
        :: else -> skip
        fi;
        seen[0] = false
    };
    atomic {
        if
        :: seen[1] && MAY_RESCUE(1) -> rescue(1)
        :: else -> skip
        fi;
        seen[1] = false
    }
    od
}

/* Time may pass a lease's end whenever it likes: every pause, stop and partition is in this. */
proctype Lease(byte j) {
end:
    do
    :: atomic { job[j].status == RUNNING && !job[j].expired -> job[j].expired = true }
    od
}

proctype Operator() {
end:
    do
    :: atomic { !TERMINAL(job[0].status) && !job[0].cancel_requested -> cancel(0) }
    :: atomic { !TERMINAL(job[1].status) && !job[1].cancel_requested -> cancel(1) }
    :: atomic { TERMINAL(job[0].status) && retries < RETRIES -> retry(0) }
    :: atomic { TERMINAL(job[1].status) && retries < RETRIES -> retry(1) }
    od
}

init {
    atomic {
        run Worker(0);
        run Worker(1);
#ifndef NO_SWEEPER
        run Sweeper();
#endif
        run Lease(0);
        run Lease(1);
        run Operator()
    }
}

#ifdef RECOVERY
/* I7, without the figures: a claim that nobody remembers does not stay. */
#define REMEMBERED(w) (HOLDS(w, 0) && hand[w].token[0].number == job[0].claims)
#define ORPHAN (job[0].status == RUNNING && !REMEMBERED(0) && !REMEMBERED(1))
ltl recovery { [] (ORPHAN -> <> !ORPHAN) }
#endif

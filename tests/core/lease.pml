/* SPDX-License-Identifier: MIT */
/* The lease protocol of libsw/core/lease.h under total store order, checked by spin.
 *
 * Promela's own memory is sequentially consistent, so a model without store buffers would pass even
 * with the protocol's fences taken out. Here every process has a FIFO store buffer: a plain store enters
 * the buffer of its process, a load is served from there first, and a drain process moves stores to
 * memory at any later time. A sequentially consistent store or a compare-and-swap waits until its own
 * buffer is empty (what XCHG and LOCK CMPXCHG do on x86).
 *
 * One chunk, CLIENTS clients, one broker that loads it, evicts it, revokes a client, and sees clients
 * die. Device writes (DMA) go to memory directly. Properties:
 *   - a lease that is released as valid has read nothing but its own generation's bytes;
 *   - a client that was never revoked never sees other bytes at all, not even before its release;
 *   - the broker is never stuck: a dead client's pin does not count (no invalid end state).
 *
 * Mutants, each of which must fail:
 *   -DNO_BROKER_FENCE   evict-mark without waiting for the buffer before evict-scan
 *   -DNO_CLIENT_FENCE   pin-claim as a plain store
 *   -DNO_EPOCH_CHECK    a release that looks at the generation only, before the reload is announced
 *   -DNO_RECHECK        a release that looks at nothing
 */

#ifndef CLIENTS
#define CLIENTS 2
#endif
#define LOADS   2 /* generations that the broker may load */
#define BROKER  CLIENTS
#define BUFFER  3

#define ABSENT   0
#define LOADING  1
#define RESIDENT 2
#define EVICTING 3

/* addresses: pins first, then the word (generation * 4 + state), then the epochs */
#define PIN(c)   (c)
#define WORD     (CLIENTS)
#define EPOCH(c) (CLIENTS + 1 + (c))
#define CELLS    (2 * CLIENTS + 1)

byte memory[CELLS];
byte bytes = 0; /* whose generation's bytes lie in the chunk's range; 0: torn */
bool dead[CLIENTS];
bool revoked[CLIENTS];

typedef Buffer {
    byte address[BUFFER];
    byte value[BUFFER];
    byte used
};
Buffer buffer[CLIENTS + 1];

/* A plain store by process p. */
inline put(p, a, v)
{
    atomic {
        buffer[p].used < BUFFER;
        buffer[p].address[buffer[p].used] = a;
        buffer[p].value[buffer[p].used] = v;
        buffer[p].used++
    }
}

inline fence(p)
{
    buffer[p].used == 0
}

/* A load by process p: the youngest of its own buffered stores, else memory. */
inline get(p, a, ret)
{
    d_step {
        ret = memory[a];
        if
        :: buffer[p].used > 0 && buffer[p].address[0] == a -> ret = buffer[p].value[0]
        :: else
        fi;
        if
        :: buffer[p].used > 1 && buffer[p].address[1] == a -> ret = buffer[p].value[1]
        :: else
        fi;
        if
        :: buffer[p].used > 2 && buffer[p].address[2] == a -> ret = buffer[p].value[2]
        :: else
        fi
    }
}

proctype drain(byte p)
{
end:
    do
    :: atomic {
           buffer[p].used > 0;
           memory[buffer[p].address[0]] = buffer[p].value[0];
           buffer[p].address[0] = buffer[p].address[1];
           buffer[p].value[0] = buffer[p].value[1];
           buffer[p].address[1] = buffer[p].address[2];
           buffer[p].value[1] = buffer[p].value[2];
           buffer[p].used--;
           buffer[p].address[buffer[p].used] = 0;
           buffer[p].value[buffer[p].used] = 0
       }
    od
}

proctype client(byte me)
{
    byte seen, again, epoch, first, second;
    byte rounds = 0;
    bool valid;

    do
    :: rounds < 2 ->
        rounds++;
        /* pin-claim */
#ifdef NO_CLIENT_FENCE
        put(me, PIN(me), 1);
#else
        atomic {
            fence(me);
            memory[PIN(me)] = 1
        }
#endif
        /* pin-look, until the chunk is there or the client gives up */
        get(me, WORD, seen);
        get(me, EPOCH(me), epoch);
        if
        :: seen % 4 == RESIDENT && epoch == 0 ->
            /* the computation reads the range; bytes may change under a revoked reader */
            first = bytes;
            second = bytes;
            valid = true;
            assert(revoked[me] || (first == seen / 4 && second == seen / 4));
            /* recheck, epoch-check */
#ifndef NO_RECHECK
            get(me, WORD, again);
#ifdef NO_EPOCH_CHECK
            epoch = 0;
#else
            get(me, EPOCH(me), epoch);
#endif
            valid = (again / 4 == seen / 4) && (epoch == 0);
#endif
            assert(!valid || (first == seen / 4 && second == seen / 4))
        :: else
        fi;
        first = 0; second = 0; again = 0; valid = false;
        if
        :: put(me, PIN(me), 0) /* pin-drop: a plain (release) store */
        :: dead[me] = true; break /* killed while it holds the pin */
        fi
    :: rounds == 2 -> break
    od
}

active proctype broker()
{
    byte word, pin, c, pins;
    byte loads = 0;
    bool stuck;

    atomic {
        for (c : 0 .. CLIENTS) {
            run drain(c)
        }
        for (c : 0 .. CLIENTS - 1) {
            run client(c)
        }
    }
    do
    :: memory[WORD] % 4 == ABSENT && buffer[BROKER].used == 0 && loads < LOADS ->
        loads++;
        word = memory[WORD] / 4;
#ifdef NO_EPOCH_CHECK
        bytes = 0; /* the mutant also reuses the range before the new generation shows */
#endif
        put(BROKER, WORD, (word + 1) * 4 + LOADING); /* begin */
        fence(BROKER);
        bytes = 0;        /* the device overwrites the range … */
        bytes = word + 1; /* … and has finished */
        put(BROKER, WORD, (word + 1) * 4 + RESIDENT) /* publish */
    :: memory[WORD] % 4 == RESIDENT && buffer[BROKER].used == 0 ->
        word = memory[WORD] / 4;
        put(BROKER, WORD, word * 4 + EVICTING); /* evict-mark */
#ifndef NO_BROKER_FENCE
        fence(BROKER);
#endif
        pins = 0;
        for (c : 0 .. CLIENTS - 1) { /* evict-scan */
            get(BROKER, PIN(c), pin);
            if
            :: pin && !dead[c] && !revoked[c] -> pins++
            :: else
            fi
        }
        if
        :: pins > 0 -> put(BROKER, WORD, word * 4 + RESIDENT) /* restore */
        :: else -> put(BROKER, WORD, word * 4 + ABSENT)       /* finish */
        fi
    :: !revoked[0] ->
        atomic { /* revoke: seq_cst, before the pins stop counting */
            fence(BROKER);
            memory[EPOCH(0)] = 1
        };
        revoked[0] = true
    :: loads == LOADS -> break
    od
}

/* Threads that share the units of a phase of work.

   Each thread has a share of the units, the same in every step, and takes from it first, since their memory is in its
   cache; then it takes what is left of the other shares. So the caller waits for a helper that has no core only if that
   helper has begun a unit. A thread that waits spins for a moment and then sleeps.

   A team lives for one call of the kernel: starting and joining a thread takes less than a thousandth of a call, and no
   thread is left when the call returns. */

#ifndef TEAM
#define TEAM

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define MOST_THREADS 64
#define SPIN_NS 50000

/* Work on one of so many units. */
typedef void work_on(const void *context, long unit, long units, long thread);

/* The units of one thread that nobody has taken, in a cache line of their own. */
struct share {
    _Alignas(64) _Atomic long left;
};

struct team {
    struct share shares[MOST_THREADS];
    _Alignas(64) _Atomic long phase; /* OVER: the helpers end */
    _Alignas(64) _Atomic long undone; /* units of this phase */
    _Alignas(64) _Atomic long sleepers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long threads, helper_count;
    /* Of this phase; a helper reads them only while it has a unit, since they change between phases. */
    work_on *work;
    const void *context;
    long units;
    struct helper {
        struct team *team;
        long number;
        pthread_t thread;
    } helpers[MOST_THREADS];
};

enum { OVER = -1 };

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void pause_spinning(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* Return once `word` is no longer `value`: spin for a moment, then sleep. */
static void wait_while(struct team *team, _Atomic long *word, long value) {
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 8; i++) {
            if (atomic_load(word) != value) return;
            pause_spinning();
        }
    } while (now_ns() < end);
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(word) == value) pthread_cond_wait(&team->changed, &team->lock);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->lock);
}

/* Wake those that sleep until a word changes, which it has. */
static void wake(struct team *team) {
    if (atomic_load(&team->sleepers) == 0) return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}

/* Do units of this phase until none is left: of the thread's share first, then of the others. */
static void take_units(struct team *team, long thread) {
    long done = 0;
    for (long i = 0; i < team->threads; i++) {
        const long owner = (thread + i) % team->threads;
        _Atomic long *left = &team->shares[owner].left;
        long number = atomic_load(left);
        while (number > 0)
            if (atomic_compare_exchange_weak(left, &number, number - 1)) {
                team->work(team->context, owner + (number - 1) * team->threads, team->units, thread);
                done++;
                number = atomic_load(left);
            }
    }
    if (done > 0 && atomic_fetch_sub(&team->undone, done) == done) wake(team);
}

/* Do `work` on each of some units, with the whole team. */
static void run_phase(struct team *team, work_on *work, const void *context, long units) {
    if (team->helper_count == 0) {
        for (long unit = 0; unit < units; unit++) work(context, unit, units, 0);
        return;
    }
    team->work = work;
    team->context = context;
    team->units = units;
    atomic_store(&team->undone, units);
    for (long owner = 0; owner < team->threads; owner++)
        atomic_store(&team->shares[owner].left, (units + team->threads - 1 - owner) / team->threads);
    atomic_fetch_add(&team->phase, 1);
    wake(team);
    take_units(team, 0);
    for (long undone; (undone = atomic_load(&team->undone)) > 0;) wait_while(team, &team->undone, undone);
}

static void *help(void *argument) {
    const struct helper *helper = argument;
    struct team *team = helper->team;
    const unsigned mode = flush_denormals();
    for (long phase; (phase = atomic_load(&team->phase)) != OVER;) {
        take_units(team, helper->number);
        wait_while(team, &team->phase, phase);
    }
    restore_mode(mode);
    return NULL;
}

/* Start the helpers of a team whose fields are all zero; fewer where the system gives no more threads. */
static void start_team(struct team *team, long threads) {
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);
    team->threads = threads;
    while (team->helper_count < threads - 1) {
        struct helper *helper = team->helpers + team->helper_count;
        helper->team = team;
        helper->number = team->helper_count + 1;
        if (pthread_create(&helper->thread, NULL, help, helper) != 0) break;
        team->helper_count++;
    }
}

static void end_team(struct team *team) {
    atomic_store(&team->phase, OVER);
    wake(team);
    for (long i = 0; i < team->helper_count; i++) pthread_join(team->helpers[i].thread, NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->lock);
    team->helper_count = 0;
}

#endif

/* Whether the next step of a training is taken by all its threads or by one.

   Beside busy processes a thread may lose its core in the middle of a unit, and the step then waits for milliseconds.
   On some processors two cores hand weights to each other so slowly that one thread is quicker. In both cases a team
   loses time against one thread. The time that it saves is added up over its steps; a loss is subtracted. When the sum
   falls below a bound, one thread goes on alone for a while, and for twice as long after each further failure. */

#ifndef PACE
#define PACE

#include <stdint.h>

#define MOST_SAVED_NS 5000000 /* more does not count: a team that stops being quicker is noticed after this time */
#define MOST_LOST_NS 1000000
#define SHORTEST_PAUSE_NS 20000000
#define LONGEST_PAUSE_NS 1000000000
#define LEAST_STEPS_ALONE 3

/* All fields are 0 at first. */
struct pace {
    int64_t steps_alone; /* since the team was last at work */
    int64_t alone_ns;    /* the quickest of these steps */
    int64_t saved_ns;    /* by the team against that */
    int64_t pause_ns;    /* the next pause, once there was one */
    int64_t pause_until_ns;
};

static int is_worth_a_team(const struct pace *pace, int64_t now) {
    return pace->steps_alone >= LEAST_STEPS_ALONE && now >= pace->pause_until_ns;
}

static void note_step(struct pace *pace, int with_team, int64_t started, int64_t ended) {
    const int64_t duration = ended - started;
    if (!with_team) {
        if (pace->steps_alone++ == 0 || duration < pace->alone_ns) pace->alone_ns = duration;
        return;
    }
    pace->saved_ns += pace->alone_ns - duration;
    if (pace->saved_ns >= MOST_SAVED_NS) {
        pace->saved_ns = MOST_SAVED_NS;
        pace->pause_ns = SHORTEST_PAUSE_NS;
    }
    if (pace->saved_ns >= -MOST_LOST_NS) return;
    if (pace->pause_ns < SHORTEST_PAUSE_NS) pace->pause_ns = SHORTEST_PAUSE_NS;
    pace->saved_ns = pace->steps_alone = 0;
    pace->pause_until_ns = ended + pace->pause_ns;
    if (pace->pause_ns < LONGEST_PAUSE_NS) pace->pause_ns *= 2;
}

#endif

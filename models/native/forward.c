/* Probabilities of digits by a multilayer perceptron, on one thread, for predictions.

   Rows of weights whose input is zero are not read: a single digit reads a fifth of the first layer's weights and half
   of the others'. After a pause, reading them from memory takes most of a prediction's time. One library holds the code
   for all kinds of processors; the caller chooses one. `models/inference/compiled_forward.py` mirrors the structures
   below. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* `rows` [fan_in, columns], `stride` apart, then the bias as a last row; `columns` is fan_out in whole cache lines. */
struct dense {
    int64_t fan_in, fan_out, columns, stride;
    const float *rows;
};

struct network {
    const struct dense *layers;
    int64_t layer_count, activation;
    double slope; /* of leaky ReLU */
};

enum { DONE, OUT_OF_MEMORY, NOT_FINITE };

/* Images that go through the network together, so that the rows of a block are read once for all of them. */
#define GROUP_IMAGES 16

#define REAL float
#define FABS fabsf
#define LIST_VALUES NAME(list_values)
#define LIST_BYTES NAME(list_bytes)

#if defined(__x86_64__)
#define NAME(name) name##_avx512
#define FOR_PROCESSOR __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
#define VECTOR_BYTES 64
#define MOST_VECTORS 16
#include "probabilities.h"
#undef NAME
#undef FOR_PROCESSOR
#undef VECTOR_BYTES
#undef MOST_VECTORS

#define NAME(name) name##_avx2
#define FOR_PROCESSOR __attribute__((target("avx2,fma")))
#define VECTOR_BYTES 32
#define MOST_VECTORS 8
#include "probabilities.h"
#undef NAME
#undef FOR_PROCESSOR
#undef VECTOR_BYTES
#undef MOST_VECTORS
#endif

#define NAME(name) name##_baseline
#define FOR_PROCESSOR
#define VECTOR_BYTES 16
#define MOST_VECTORS 8
#include "probabilities.h"

/* Write the kinds that this processor runs, best first, by their number in `fanin_probabilities`; return how many. */
int fanin_kinds(int *kinds) {
    int count = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        kinds[count++] = 2;
    if (fma) kinds[count++] = 1;
#endif
    kinds[count++] = 0;
    return count;
}

/* Write probabilities [count, fan_out of the last layer] of `count` images, given as pixels [count, fan_in] or, where
   that is NULL, as inputs [count, fan_in]. The network is only read, so any number of threads may call concurrently.
   Return DONE, OUT_OF_MEMORY or NOT_FINITE. */
int fanin_probabilities(int kind, const struct network *network, const uint8_t *pixels, const float *inputs,
                        int64_t count, float *probabilities) {
#if defined(__x86_64__)
    if (kind == 2) return probabilities_avx512(network, pixels, inputs, count, probabilities);
    if (kind == 1) return probabilities_avx2(network, pixels, inputs, count, probabilities);
#else
    (void)kind; /* there is only one */
#endif
    return probabilities_baseline(network, pixels, inputs, count, probabilities);
}

/* `models/inference/compiled_forward.py` compares this with its own structures before it uses this library. */
const int64_t fanin_layout[3] = {
    3, /* incremented when a structure keeps its size and changes its meaning, or a number gets another one */
    sizeof(struct dense),
    sizeof(struct network),
};

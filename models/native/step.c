/* One training step of a multilayer perceptron on a CPU, for digits whose pixels are mostly zero.

   Compiled once for float (fanin_step_float32, what trains) and once for double (fanin_step_float64, what tests compare
   with autograd). `models/kernel_step.py` mirrors the structures below and owns all memory. See `body.h` for the method. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#ifndef VECTOR_BYTES
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

/* Accumulators of one row segment stay in registers: 32 exist with AVX-512, 16 without. */
#if VECTOR_BYTES == 64
#define MOST_VECTORS 16
#else
#define MOST_VECTORS 8
#endif

#define BLOCK_ROWS 28 /* rows of weights that are worked through while they lie in the first-level cache */
#define UPDATE_VECTORS 8

/* Stops the compiler from keeping one address for each vector of a row, for which there are not enough registers. */
#define KEEP_AS_ONE_ADDRESS(pointer) __asm__("" : "+r"(pointer))

enum { RELU, LEAKY_RELU, SOFTSIGN, IDENTITY };
enum { SGD, ADAM };

/* Where one layer lies in the flat buffers, in elements: `fan_in` rows of `stride` elements, then the bias as one row
   more. `transposed` is where [fan_out rows of transposed_stride] lies in the buffer of transposed weights. */
struct layer {
    int64_t fan_in, fan_out, stride, at, transposed_at, transposed_stride;
};

struct optimizer {
    int64_t kind;
    double rate;               /* the learning rate; for Adam divided by 1 - beta1^t */
    double weight_decay, momentum, beta1, beta2, epsilon;
    double root_of_correction; /* Adam: sqrt(1 - beta2^t) */
};

/* A bit for each of eight bytes that is not zero, the first byte's lowest (little-endian). */
static inline uint64_t lit_bytes(uint64_t bytes) {
    const uint64_t low = 0x7f7f7f7f7f7f7f7f;
    const uint64_t tops = ((((bytes & low) + low) | bytes) & ~low) >> 7;
    return (tops * 0x0102040810204080) >> 56;
}

#define REAL float
#define NAME(name) name##_float32
#define EXP expf
#define LOG logf
#define SQRT sqrtf
#define FABS fabsf
#include "body.h"
#undef REAL
#undef NAME
#undef EXP
#undef LOG
#undef SQRT
#undef FABS

#define REAL double
#define NAME(name) name##_float64
#define EXP exp
#define LOG log
#define SQRT sqrt
#define FABS fabs
#include "body.h"

/* Training steps of a multilayer perceptron on a CPU, for digits whose pixels are mostly zero.

   Compiled once for float (fanin_steps_float32, what trains) and once for double (fanin_steps_float64, what tests
   compare with autograd). Many steps are taken in one call: between two calls the interpreter needs 80 us, a seventh of
   a step, and other threads of the process may hold it for milliseconds. `models/training/kernel_step.py` mirrors the structures
   below and owns all memory. See `body.h` for the method. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
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

#define UPDATE_VECTORS 8
#define IMAGES_AHEAD 4
#define FOR_PROCESSOR /* the whole file is compiled for one */

enum { SGD, ADAM };

/* Where one layer lies in the flat buffers, in elements: `fan_in` rows `stride` apart, of `columns` that are worked on
   (fan_out in whole cache lines), then the bias as one row more. `transposed` is where [fan_out rows of transposed_stride] lies in the buffer of transposed weights. */
struct layer {
    int64_t fan_in, fan_out, columns, stride, at, transposed_at, transposed_stride;
};

struct optimizer {
    int64_t kind;
    double rate;               /* the learning rate; for Adam divided by 1 - beta1^t */
    double weight_decay, momentum, beta1, beta2, epsilon;
    double root_of_correction; /* Adam: sqrt(1 - beta2^t) */
};

/* Numbers below 1.2e-38 count as zero while a thread takes its part in a step. Adam's mean of a gradient that stays
   zero for some hundred steps, of a pixel that few digits light, becomes so small, and Intel's processors then need a
   hundred times as long for a multiplication. No weight is changed by it: what is added to one is smaller still.
   torch's own setting reaches only the thread that makes it. */
#if defined(__SSE__)
#include <xmmintrin.h>
static inline unsigned flush_denormals(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* results, and operands */
    return before;
}
static inline void restore_mode(unsigned before) { _mm_setcsr(before); }
#else
static inline unsigned flush_denormals(void) { return 0; }
static inline void restore_mode(unsigned before) { (void)before; }
#endif

#include "pace.h"
#include "team.h"

#define LIST_VALUES NAME(list_values)
#define LIST_BYTES NAME(list_bytes)

#if VECTOR_BYTES == 64
/* The same lists, sixteen at a time: lanes that are not zero move together, and a whole vector is stored. */
static inline __mmask16 lanes_there(long count) { return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1); }

static inline long append_lanes(__m512 found, __mmask16 lit, long first, uint16_t *places, float *values, long count) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i where = _mm512_add_epi32(_mm512_set1_epi32((int)first), lanes);
    _mm512_storeu_ps(values + count, _mm512_maskz_compress_ps(lit, found));
    const __m256i short_places = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(lit, where));
    _mm256_storeu_si256((__m256i *)(places + count), short_places);
    return count + __builtin_popcount(lit);
}

static inline long list_floats(const float *from, long first, long last, uint16_t *places, float *values, long count) {
    for (long i = first; i < last; i += 16) {
        const __m512 found = _mm512_maskz_loadu_ps(lanes_there(last - i), from + i);
        const __mmask16 lit = _mm512_cmp_ps_mask(found, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        count = append_lanes(found, lit, i, places, values, count);
    }
    return count;
}

static inline long list_float_bytes(const uint8_t *from, const float *of_byte, long first, long last, uint16_t *places,
                                    float *values, long count) {
    (void)of_byte; /* dividing sixteen at a time is quicker */
    for (long i = first; i < last; i += 16) {
        const __m128i bytes = _mm_maskz_loadu_epi8(lanes_there(last - i), from + i);
        const __m512 levels = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        const __m512 found = _mm512_div_ps(levels, _mm512_set1_ps(255.0f));
        count = append_lanes(found, _mm_test_epi8_mask(bytes, bytes), i, places, values, count);
    }
    return count;
}

#undef LIST_VALUES
#undef LIST_BYTES
#define LIST_VALUES list_floats
#define LIST_BYTES list_float_bytes
#endif

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

#undef LIST_VALUES
#undef LIST_BYTES
#define LIST_VALUES NAME(list_values)
#define LIST_BYTES NAME(list_bytes)
#define REAL double
#define NAME(name) name##_float64
#define EXP exp
#define LOG log
#define SQRT sqrt
#define FABS fabs
#include "body.h"

/* What `models/training/kernel_library.py` compares with its own structures before it trusts this library. */
const int64_t fanin_layout[6] = {
    4, /* raised whenever a structure keeps its size and changes its meaning */
    sizeof(struct layer),
    sizeof(struct optimizer),
    sizeof(struct lists_float32),
    sizeof(struct step_float32),
    sizeof(struct pace),
};

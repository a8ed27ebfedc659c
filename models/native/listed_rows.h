/* Products of weights with inputs that are mostly zero, for one type REAL. The nonzero elements of an input are listed,
   and a product adds up the listed rows of the weights. Training includes this file once for each type, predictions
   include it once for each kind of processor. The including file defines REAL, NAME, FABS, LIST_VALUES, LIST_BYTES,
   VECTOR_BYTES, MOST_VECTORS and FOR_PROCESSOR (an attribute of every function, or nothing). */

#ifndef LISTED_ROWS
#define LISTED_ROWS
/* Rows of weights that are used together, while they are in the first-level cache. A block is whole cache lines of a
   row of the transposed weights, because another thread writes the next block. */
#define BLOCK_ROWS 32

/* Stops the compiler from keeping one address for each vector of a row: there are not enough registers. */
#define KEEP_AS_ONE_ADDRESS(pointer) __asm__("" : "+r"(pointer))

enum { RELU, LEAKY_RELU, SOFTSIGN, IDENTITY, TANH, SIGMOID, SELU, GELU, SCALED_TANH };
#endif

#define LANES (VECTOR_BYTES / (long)sizeof(REAL))
typedef REAL NAME(vector) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL))));

/* The nonzero elements of a batch of rows of one width. Image b has `values[b * capacity + k]` at the places
   `places[b * capacity + k]`, in ascending order; capacity >= width + 16, because whole vectors are stored.
   `starts[b * blocks + j]` is the first k of block j of BLOCK_ROWS places; blocks = ceil(width / BLOCK_ROWS) + 1. */
struct NAME(lists) {
    uint16_t *places;
    REAL *values;
    int32_t *starts;
    int64_t width, capacity, blocks;
};

/* Append the nonzero elements of from[first..last) to a list that has `count`, and return how many it has then.
   Without branches, because zeros would make them mispredict. */
FOR_PROCESSOR static inline long NAME(list_values)(const REAL *from, long first, long last, uint16_t *places, REAL *values,
                                     long count) {
    for (long i = first; i < last; i++) {
        places[count] = (uint16_t)i;
        values[count] = from[i];
        count += from[i] != 0;
    }
    return count;
}

/* The same for pixels; `of_byte` gives the value of each level. */
FOR_PROCESSOR static inline long NAME(list_bytes)(const uint8_t *from, const REAL *of_byte, long first, long last, uint16_t *places,
                                    REAL *values, long count) {
    for (long i = first; i < last; i++) {
        places[count] = (uint16_t)i;
        values[count] = of_byte[from[i]];
        count += from[i] != 0;
    }
    return count;
}

/* List the nonzero elements of an image's row, or of its pixels where `row` is NULL. */
FOR_PROCESSOR static inline __attribute__((always_inline)) void NAME(list)(struct NAME(lists) *lists, long image, const REAL *row,
                                                             const uint8_t *pixels, const REAL *of_byte) {
    uint16_t *places = lists->places + image * lists->capacity;
    REAL *values = lists->values + image * lists->capacity;
    int32_t *starts = lists->starts + image * lists->blocks;
    long count = 0;
    for (long block = 0; block < lists->blocks - 1; block++) {
        const long first = block * BLOCK_ROWS, end = first + BLOCK_ROWS, last = end < lists->width ? end : lists->width;
        starts[block] = (int32_t)count;
        count = row ? LIST_VALUES(row, first, last, places, values, count)
                    : LIST_BYTES(pixels, of_byte, first, last, places, values, count);
    }
    starts[lists->blocks - 1] = (int32_t)count;
}

/* out[image, 0..vectors) += sum of listed rows, one block of rows after another: a block stays in the cache. */
FOR_PROCESSOR static inline __attribute__((always_inline)) void NAME(add_rows)(
    const int vectors, const struct NAME(lists) *in, long first, long last, const REAL *rows, long stride, REAL *out,
    long out_stride) {
    for (long block = 0; block < in->blocks - 1; block++)
        for (long image = first; image < last; image++) {
            const int32_t *starts = in->starts + image * in->blocks + block;
            if (starts[0] == starts[1]) continue;
            const uint16_t *places = in->places + image * in->capacity;
            const REAL *values = in->values + image * in->capacity;
            NAME(unaligned) *target = (NAME(unaligned) *)(out + image * out_stride);
            NAME(vector) sum[MOST_VECTORS];
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) sum[j] = target[j];
            for (int32_t k = starts[0]; k < starts[1]; k++) {
                const NAME(unaligned) *row = (const NAME(unaligned) *)(rows + places[k] * stride);
                const REAL value = values[k];
                KEEP_AS_ONE_ADDRESS(row);
#pragma GCC unroll 16
                for (int j = 0; j < vectors; j++) sum[j] += value * row[j];
            }
#pragma GCC unroll 16
            for (int j = 0; j < vectors; j++) target[j] = sum[j];
        }
}

/* out[image] = start (NULL: 0) + sum of listed rows, for images first..last. */
FOR_PROCESSOR static void NAME(product)(const struct NAME(lists) *in, long first, long last, const REAL *rows, long columns,
                          long stride, const REAL *start, REAL *out) {
    for (long image = first; image < last; image++) {
        if (start)
            memcpy(out + image * stride, start, (size_t)columns * sizeof(REAL));
        else
            memset(out + image * stride, 0, (size_t)columns * sizeof(REAL));
    }
    long column = 0;
    while (column < columns) {
        long left = (columns - column) / LANES;
#define CASE(n)                                                                                             \
    if (left >= n) {                                                                                        \
        NAME(add_rows)(n, in, first, last, rows + column, stride, out + column, stride);                    \
        column += n * LANES;                                                                                \
        continue;                                                                                           \
    }
#if MOST_VECTORS == 16
        CASE(16)
#endif
        CASE(8) CASE(4) CASE(2) CASE(1)
#undef CASE
    }
}

FOR_PROCESSOR static void NAME(activate)(long kind, REAL slope, REAL *z, long count) {
    if (kind == RELU)
        for (long i = 0; i < count; i++) z[i] = z[i] < 0 ? 0 : z[i];
    else if (kind == LEAKY_RELU)
        for (long i = 0; i < count; i++) z[i] = z[i] > 0 ? z[i] : slope * z[i];
    else if (kind == SOFTSIGN)
        for (long i = 0; i < count; i++) z[i] = z[i] / (1 + FABS(z[i]));
}

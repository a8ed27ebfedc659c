/* The step for one type, REAL. Two facts about the recipe are used that a dense product cannot use: four fifths of the
   pixels are zero, and ReLU makes about half of the hidden values zero. So whatever enters a product is first turned
   into a list of what is not zero in it (`struct NAME(lists)`), and a product adds up rows of weights:

       z[image] = bias + sum over listed (i, value) of value * V[i]           forward
       dh[image] = sum over listed (o, value) of value * V^T[o]               backward through a layer
       dV[i] = sum over images that list (i, value) of value * dz[image]      gradient, used while it is in registers

   The first two work image by image through all layers without waiting for other threads; the third row by row, with
   the optimizer's update at once. A bias is one more row, whose input is 1 for every image. Each sum is added up in one
   order, whoever does it, so that the bits do not depend on the number of threads. */

#include "listed_rows.h"

struct NAME(step) {
    const struct layer *layers;
    int64_t layer_count, batch, activation;
    double slope;
    const struct optimizer *optimizer;
    REAL *values, *gradients, *first_moment, *second_moment, *transposed;
    const uint8_t *images; /* [N, fan_in of the first layer] */
    const int64_t *labels, *chosen;
    struct NAME(lists) *inputs; /* of each layer, for the whole batch */
    struct NAME(lists) *scratch; /* of the gradient at one layer, for the whole batch */
    REAL **h, **dz;              /* of each layer, [batch, stride]; z is overwritten by h */
    double *image_losses; /* of each image, nats */
    int64_t *image_hits;
    uint16_t *gathered_images; /* [threads, BLOCK_ROWS + 1, batch]: of each row at hand, who lists it */
    REAL *gathered_values;
    REAL *loss;       /* mean over the batch */
    double *loss_sum; /* grows by the batch's sum */
    int64_t *hit_sum;
    int64_t threads;
    struct pace *pace; /* of steps of this batch, kept between calls */
};

/* dh becomes dz; h is what `activate` left. */
static void NAME(pass_back)(long kind, REAL slope, REAL *dh, const REAL *h, long count) {
    if (kind == RELU)
        for (long i = 0; i < count; i++) dh[i] = h[i] > 0 ? dh[i] : 0;
    else if (kind == LEAKY_RELU)
        for (long i = 0; i < count; i++) dh[i] = h[i] > 0 ? dh[i] : slope * dh[i];
    else if (kind == SOFTSIGN)
        for (long i = 0; i < count; i++) {
            REAL left = 1 - FABS(h[i]);
            dh[i] *= left * left;
        }
}

/* The loss of each image, whether it was right, and dz of the last layer in place of a copy of its z. */
static void NAME(lose)(const struct NAME(step) *step, long image) {
    const struct layer *last = step->layers + step->layer_count - 1;
    const REAL *z = step->h[step->layer_count - 1] + image * last->stride;
    REAL *dz = step->dz[step->layer_count - 1] + image * last->stride;
    long label = step->labels[step->chosen[image]], best = 0;
    for (long i = 1; i < last->fan_out; i++)
        if (z[i] > z[best] || z[i] != z[i]) best = i;
    REAL sum = 0;
    for (long i = 0; i < last->fan_out; i++) sum += EXP(z[i] - z[best]);
    REAL log_sum = LOG(sum) + z[best];
    for (long i = 0; i < last->fan_out; i++) dz[i] = (EXP(z[i] - log_sum) - (i == label)) / (REAL)step->batch;
    for (long i = last->fan_out; i < last->columns; i++) dz[i] = 0;
    step->image_losses[image] = (double)(log_sum - z[label]);
    step->image_hits[image] = best == label;
}

/* Everything that is an image's own: forward, loss, and back to dz of every layer. */
static void NAME(run_images)(const struct NAME(step) *step, long first, long last) {
    const long count = step->layer_count;
    REAL of_byte[256];
    for (int i = 0; i < 256; i++) of_byte[i] = (REAL)i / (REAL)255;
    const long pixels = step->layers[0].fan_in;
    for (long image = first; image < last; image++) {
        /* The images of a batch lie anywhere in the data set; those after this are fetched meanwhile. */
        if (image + IMAGES_AHEAD < last)
            for (long at = 0; at < pixels; at += 64)
                __builtin_prefetch(step->images + step->chosen[image + IMAGES_AHEAD] * pixels + at);
        NAME(list)(step->inputs, image, NULL, step->images + step->chosen[image] * pixels, of_byte);
    }
    for (long l = 0; l < count; l++) {
        const struct layer *layer = step->layers + l;
        const REAL *weight = step->values + layer->at;
        NAME(product)(step->inputs + l, first, last, weight, layer->columns, layer->stride,
                      weight + layer->fan_in * layer->stride, step->h[l]);
        if (l == count - 1) break;
        NAME(activate)(step->activation, (REAL)step->slope, step->h[l] + first * layer->stride,
                       (last - first) * layer->stride);
        for (long image = first; image < last; image++)
            NAME(list)(step->inputs + l + 1, image, step->h[l] + image * layer->stride, NULL, NULL);
    }
    for (long image = first; image < last; image++) NAME(lose)(step, image);
    for (long l = count - 1; l > 0; l--) {
        const struct layer *layer = step->layers + l;
        for (long image = first; image < last; image++)
            NAME(list)(step->scratch + l, image, step->dz[l] + image * layer->stride, NULL, NULL);
        NAME(product)(step->scratch + l, first, last, step->transposed + layer->transposed_at, layer[-1].columns,
                      layer->transposed_stride, NULL, step->dz[l - 1]);
        NAME(pass_back)(step->activation, (REAL)step->slope, step->dz[l - 1] + first * layer->transposed_stride,
                        step->h[l - 1] + first * layer->transposed_stride, (last - first) * layer->transposed_stride);
    }
}

/* values[0..count) take a step along their gradient; the formulas and their order are torch's. */
static inline __attribute__((always_inline)) void NAME(update)(const struct optimizer *o, long count, REAL *gradient,
                                                               REAL *value, REAL *first, REAL *second) {
    const REAL rate = (REAL)o->rate, decay = (REAL)o->weight_decay;
    if (decay != 0)
        for (long i = 0; i < count; i++) gradient[i] += decay * value[i];
    if (o->kind == ADAM) {
        const REAL rest1 = (REAL)(1 - o->beta1), beta2 = (REAL)o->beta2, rest2 = (REAL)(1 - o->beta2);
        const REAL epsilon = (REAL)o->epsilon, scale = (REAL)(1 / o->root_of_correction);
        for (long i = 0; i < count; i++) {
            REAL m = first[i] + rest1 * (gradient[i] - first[i]);
            REAL v = beta2 * second[i] + rest2 * gradient[i] * gradient[i];
            first[i] = m;
            second[i] = v;
            value[i] -= rate * m / (SQRT(v) * scale + epsilon);
        }
        return;
    }
    const REAL momentum = (REAL)o->momentum;
    if (momentum == 0)
        for (long i = 0; i < count; i++) value[i] -= rate * gradient[i];
    else
        for (long i = 0; i < count; i++) {
            first[i] = momentum * first[i] + gradient[i];
            value[i] -= rate * first[i];
        }
}

/* One segment of `vectors` columns of one row: gradient from the images that list it, then the update. */
static inline __attribute__((always_inline)) void NAME(learn)(
    const int vectors, const struct NAME(step) *step, const uint16_t *images, const REAL *values, long count,
    const REAL *dz, long stride, long at) {
    /* What the update will need is fetched while the gradient is added up. */
    for (int j = 0; j < vectors; j++) {
        __builtin_prefetch(step->values + at + j * LANES, 1);
        if (step->first_moment) __builtin_prefetch(step->first_moment + at + j * LANES, 1);
        if (step->second_moment) __builtin_prefetch(step->second_moment + at + j * LANES, 1);
    }
    NAME(vector) sum[UPDATE_VECTORS] = {0};
    for (long k = 0; k < count; k++) {
        const NAME(unaligned) *row = (const NAME(unaligned) *)(dz + images[k] * stride);
        const REAL value = values[k];
        KEEP_AS_ONE_ADDRESS(row);
#pragma GCC unroll 16
        for (int j = 0; j < vectors; j++) sum[j] += value * row[j];
    }
    NAME(unaligned) kept[UPDATE_VECTORS];
#pragma GCC unroll 16
    for (int j = 0; j < vectors; j++) kept[j] = sum[j];
    REAL *gradient = (REAL *)kept;
    if (step->gradients) {
        memcpy(step->gradients + at, gradient, (size_t)vectors * VECTOR_BYTES);
        return;
    }
    NAME(update)(step->optimizer, vectors * LANES, gradient, step->values + at,
                 step->first_moment ? step->first_moment + at : NULL,
                 step->second_moment ? step->second_moment + at : NULL);
}

/* Gradient and update of one block of rows of one layer, the bias behind its last. */
static void NAME(run_rows)(const struct NAME(step) *step, long l, long block, uint16_t *images, REAL *values) {
    const struct layer *layer = step->layers + l;
    const struct NAME(lists) *in = step->inputs + l;
    const long first = block * BLOCK_ROWS, batch = step->batch, stride = layer->stride;
    const int with_bias = block == in->blocks - 2;
    const long last = with_bias ? layer->fan_in : first + BLOCK_ROWS, rows = last - first + with_bias;
    long counts[BLOCK_ROWS + 1] = {0};
    for (long image = 0; image < batch; image++) {
        const int32_t *starts = in->starts + image * in->blocks + block;
        const long from = image * in->capacity;
        for (long k = from + starts[0]; k < from + starts[1]; k++) {
            long row = in->places[k] - first;
            images[row * batch + counts[row]] = (uint16_t)image;
            values[row * batch + counts[row]++] = in->values[k];
        }
        if (with_bias) {
            images[(rows - 1) * batch + image] = (uint16_t)image;
            values[(rows - 1) * batch + image] = 1;
        }
    }
    if (with_bias) counts[rows - 1] = batch;
    for (long column = 0; column < layer->columns;) {
        const int vectors = (layer->columns - column) / LANES >= UPDATE_VECTORS ? UPDATE_VECTORS : 1;
        for (long row = 0; row < rows; row++) {
            const long at = layer->at + (first + row) * stride + column;
            if (vectors == UPDATE_VECTORS)
                NAME(learn)(UPDATE_VECTORS, step, images + row * batch, values + row * batch, counts[row],
                            step->dz[l] + column, stride, at);
            else
                NAME(learn)(1, step, images + row * batch, values + row * batch, counts[row], step->dz[l] + column,
                            stride, at);
        }
        column += vectors * LANES;
    }
    if (l == 0 || step->gradients) return;
    REAL *transposed = step->transposed + layer->transposed_at;
    const REAL *weight = step->values + layer->at;
    for (long column = 0; column < layer->fan_out; column++)
        for (long row = first; row < last; row++)
            transposed[column * layer->transposed_stride + row] = weight[row * stride + column];
}

/* One of the equal parts of a batch. */
static void NAME(work_on_images)(const void *context, long part, long parts, long thread) {
    const struct NAME(step) *step = context;
    NAME(run_images)(step, step->batch * part / parts, step->batch * (part + 1) / parts);
    (void)thread;
}

/* One of the blocks of rows of all layers. */
static void NAME(work_on_rows)(const void *context, long unit, long units, long thread) {
    const struct NAME(step) *step = context;
    const long first = thread * (BLOCK_ROWS + 1) * step->batch;
    long l = 0;
    while (unit >= step->inputs[l].blocks - 1) unit -= step->inputs[l++].blocks - 1;
    NAME(run_rows)(step, l, unit, step->gathered_images + first, step->gathered_values + first);
    (void)units;
}

/* Take one step: `values` and the optimizer's moments change; with `gradients` given, only those are written. */
static void NAME(take_step)(const struct NAME(step) *step, struct team *team) {
    long units = 0;
    for (long l = 0; l < step->layer_count; l++) units += step->inputs[l].blocks - 1;
    run_phase(team, NAME(work_on_images), step, team->helper_count > 0 ? team->threads : 1);
    run_phase(team, NAME(work_on_rows), step, units);
    double sum = 0;
    for (long image = 0; image < step->batch; image++) {
        sum += step->image_losses[image];
        *step->hit_sum += step->image_hits[image];
    }
    *step->loss = (REAL)(sum / (double)step->batch);
    *step->loss_sum += sum;
}

/* Take up to `count` steps, on one batch of `chosen` after another: each with its `rates` and `roots_of_correction`
   (see `struct optimizer`), its loss going into `losses`, `apart` from each other. Stops after a step whose loss is not
   finite. Returns how many steps were taken. */
int64_t NAME(fanin_steps)(const struct NAME(step) *first, int64_t count, const double *rates,
                          const double *roots_of_correction, REAL *losses, int64_t apart) {
    struct optimizer optimizer = *first->optimizer;
    struct NAME(step) step = *first;
    struct team nobody = {.threads = 1}, team = {.threads = 0};
    const long threads = step.threads < MOST_THREADS ? step.threads : MOST_THREADS;
    const unsigned mode = flush_denormals();
    step.optimizer = &optimizer;
    int64_t taken = 0, started = now_ns();
    do {
        const int with_team = threads > 1 && is_worth_a_team(step.pace, started);
        if (with_team && team.threads == 0) start_team(&team, threads);
        optimizer.rate = rates[taken];
        optimizer.root_of_correction = roots_of_correction[taken];
        NAME(take_step)(&step, with_team ? &team : &nobody);
        losses[taken++ * apart] = *step.loss;
        step.chosen += step.batch;
        const int64_t ended = now_ns();
        note_step(step.pace, with_team, started, ended);
        started = ended;
    } while (taken < count && isfinite(*step.loss));
    if (team.threads > 0) end_team(&team);
    restore_mode(mode);
    return taken;
}

#undef LANES

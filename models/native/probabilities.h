/* `probabilities` for one kind of processor; see `forward.c`. */

#include "listed_rows.h"

/* All activations; `listed_rows.h` has only those of the training kernel, since torch trains the others. */
FOR_PROCESSOR static void NAME(activate_any)(long kind, float slope, float *z, long count) {
    const float selu_scale = 1.0507009873554805f, selu_alpha = 1.6732632423543772f;
    const float gelu_factor = 0.7978845608028654f;
    switch (kind) {
    case TANH:
        for (long i = 0; i < count; i++) z[i] = tanhf(z[i]);
        return;
    case SCALED_TANH:
        for (long i = 0; i < count; i++) z[i] = 1.7159f * tanhf(z[i] * (2.0f / 3.0f));
        return;
    case SIGMOID:
        for (long i = 0; i < count; i++) {
            const float small = expf(-fabsf(z[i])); /* cannot overflow */
            z[i] = z[i] >= 0 ? 1 / (1 + small) : small / (1 + small);
        }
        return;
    case SELU:
        for (long i = 0; i < count; i++) z[i] = selu_scale * (z[i] > 0 ? z[i] : selu_alpha * expm1f(z[i]));
        return;
    case GELU:
        for (long i = 0; i < count; i++)
            z[i] *= 0.5f * (1 + tanhf(gelu_factor * (z[i] + 0.044715f * z[i] * z[i] * z[i])));
        return;
    default:
        NAME(activate)(kind, slope, z, count);
    }
}

/* Turn logits into probabilities; return whether they are finite. */
FOR_PROCESSOR static int NAME(softmax)(const float *logits, long count, float *probabilities) {
    float most = logits[0], sum = 0;
    for (long i = 1; i < count; i++) most = logits[i] > most ? logits[i] : most;
    for (long i = 0; i < count; i++) sum += probabilities[i] = expf(logits[i] - most);
    for (long i = 0; i < count; i++) probabilities[i] /= sum;
    return isfinite(sum);
}

/* Working memory for a group of images, one allocation: their lists, and a row of outputs for each. */
struct NAME(room) {
    struct NAME(lists) lists;
    float *h;
    void *memory;
};

static int NAME(make_room)(struct NAME(room) *room, const struct network *network, long images) {
    long width = 0, stride = 0;
    for (long l = 0; l < network->layer_count; l++) {
        const struct dense *layer = network->layers + l;
        width = layer->fan_in > width ? layer->fan_in : width;
        stride = layer->stride > stride ? layer->stride : stride;
    }
    images = images > 0 ? images : 1; /* malloc(0) may return NULL */
    const long capacity = width + 16, blocks = (width + BLOCK_ROWS - 1) / BLOCK_ROWS + 1;
    const size_t h = (size_t)(images * stride) * sizeof(float), values = (size_t)(images * capacity) * sizeof(float);
    const size_t starts = (size_t)(images * blocks) * sizeof(int32_t);
    char *memory = malloc(h + values + starts + (size_t)(images * capacity) * sizeof(uint16_t));
    if (memory == NULL) return 0;
    room->memory = memory;
    room->h = (float *)memory;
    room->lists.values = (float *)(memory + h);
    room->lists.starts = (int32_t *)(memory + h + values);
    room->lists.places = (uint16_t *)(memory + h + values + starts);
    room->lists.capacity = capacity;
    return 1;
}

static void NAME(set_width)(struct NAME(lists) *lists, long width) {
    lists->width = width;
    lists->blocks = (width + BLOCK_ROWS - 1) / BLOCK_ROWS + 1;
}

FOR_PROCESSOR static int NAME(probabilities)(const struct network *network, const uint8_t *pixels, const float *inputs,
                                             int64_t count, float *probabilities) {
    const long width = network->layers[0].fan_in, classes = network->layers[network->layer_count - 1].fan_out;
    float of_byte[256];
    for (int i = 0; i < 256; i++) of_byte[i] = (float)i / 255.0f;
    struct NAME(room) room;
    if (!NAME(make_room)(&room, network, count < GROUP_IMAGES ? count : GROUP_IMAGES)) return OUT_OF_MEMORY;
    int finite = 1;
    for (long done = 0; done < count; done += GROUP_IMAGES) {
        const long images = count - done < GROUP_IMAGES ? count - done : GROUP_IMAGES;
        NAME(set_width)(&room.lists, width);
        for (long image = 0; image < images; image++)
            NAME(list)(&room.lists, image, pixels ? NULL : inputs + (done + image) * width,
                       pixels ? pixels + (done + image) * width : NULL, of_byte);
        for (long l = 0; l < network->layer_count; l++) {
            const struct dense *layer = network->layers + l;
            NAME(product)(&room.lists, 0, images, layer->rows, layer->columns, layer->stride,
                          layer->rows + layer->fan_in * layer->stride, room.h);
            if (l == network->layer_count - 1) break;
            NAME(set_width)(&room.lists, layer->fan_out);
            for (long image = 0; image < images; image++) {
                NAME(activate_any)(network->activation, (float)network->slope, room.h + image * layer->stride,
                                   layer->fan_out);
                NAME(list)(&room.lists, image, room.h + image * layer->stride, NULL, NULL);
            }
        }
        const long stride = network->layers[network->layer_count - 1].stride;
        for (long image = 0; image < images; image++)
            finite &= NAME(softmax)(room.h + image * stride, classes, probabilities + (done + image) * classes);
    }
    free(room.memory);
    return finite ? DONE : NOT_FINITE;
}

#undef LANES

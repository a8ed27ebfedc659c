/* A quick check for `models/inference/input_checks.py`: most images are digits that need no closer check. */

#include <stdint.h>

#define SIDE 28

/* The limits of a likely digit; totals are sums of levels, sides are pixels. */
struct likely {
    double least_total, most_total, most_offset;
    int64_t least_brightest, most_lit, least_side, most_side, faint_level, clear_level;
};

static int longer_side(const uint8_t *rows, const uint8_t *columns, int level) {
    int longest = 0;
    for (int axis = 0; axis < 2; axis++) {
        const uint8_t *most = axis ? columns : rows;
        int first = 0, last = SIDE - 1;
        while (first < SIDE && most[first] <= level) first++;
        while (last > first && most[last] <= level) last--;
        if (first < SIDE && last - first + 1 > longest) longest = last - first + 1;
    }
    return longest;
}

/* Return whether every image uint8 [28, 28] has zeros at its edge and is within the limits: its levels sum to between
   `least_total` and `most_total`; its centre of mass is at most `most_offset` pixels from the middle; its brightest
   pixel has `least_brightest` or more; at most `most_lit` pixels are above `faint_level`; the longer side of what is
   above `faint_level` has at least `least_side` pixels, and that of what is above `clear_level` at most `most_side`. */
int fanin_all_likely(const uint8_t *images, int64_t count, const struct likely *limits) {
    for (const uint8_t *image = images; image < images + count * SIDE * SIDE; image += SIDE * SIDE) {
        int32_t total = 0, down = 0, across = 0, edge = 0; /* moments are doubled: the middle is at 13.5 */
        int32_t lit = 0;
        uint8_t rows[SIDE] = {0}, columns[SIDE] = {0}, brightest = 0;
        for (int row = 0; row < SIDE; row++) {
            const uint8_t *levels = image + row * SIDE;
            int32_t of_row = 0;
            uint8_t most = 0;
            for (int column = 0; column < SIDE; column++) {
                const uint8_t level = levels[column];
                of_row += level;
                across += level * (2 * column - SIDE + 1);
                lit += level > limits->faint_level;
                most = level > most ? level : most;
                columns[column] = level > columns[column] ? level : columns[column];
            }
            rows[row] = most;
            brightest = most > brightest ? most : brightest;
            total += of_row;
            down += of_row * (2 * row - SIDE + 1);
            edge |= levels[0] | levels[SIDE - 1];
            if (row == 0 || row == SIDE - 1) edge |= of_row;
        }
        const double offset = (double)down * down + (double)across * across, most = 2 * limits->most_offset * total;
        if (edge != 0 || total < limits->least_total || total > limits->most_total || offset > most * most) return 0;
        if (brightest < limits->least_brightest || lit > limits->most_lit) return 0;
        if (longer_side(rows, columns, (int)limits->faint_level) < limits->least_side) return 0;
        if (longer_side(rows, columns, (int)limits->clear_level) > limits->most_side) return 0;
    }
    return 1;
}

/* A quick check for `models/inference/input_checks.py`: most images are digits that need no closer check. */

#include <stdint.h>

#define SIDE 28

/* Return whether every image uint8 [28, 28] has zeros at its edge, levels that sum to `least_total` or more, and its
   centre of mass at most `most_offset` pixels from the middle. */
int fanin_all_likely(const uint8_t *images, int64_t count, double least_total, double most_offset) {
    for (const uint8_t *image = images; image < images + count * SIDE * SIDE; image += SIDE * SIDE) {
        int32_t total = 0, down = 0, across = 0, edge = 0; /* moments are doubled: the middle is at 13.5 */
        for (int row = 0; row < SIDE; row++) {
            const uint8_t *levels = image + row * SIDE;
            int32_t of_row = 0;
            for (int column = 0; column < SIDE; column++) {
                of_row += levels[column];
                across += levels[column] * (2 * column - SIDE + 1);
            }
            total += of_row;
            down += of_row * (2 * row - SIDE + 1);
            edge |= levels[0] | levels[SIDE - 1];
            if (row == 0 || row == SIDE - 1) edge |= of_row;
        }
        const double offset = (double)down * down + (double)across * across, most = 2 * most_offset * total;
        if (edge != 0 || total < least_total || offset > most * most) return 0;
    }
    return 1;
}

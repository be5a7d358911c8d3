/* The scalar truth of Winograd's transforms: products with the matrices of Cook and Toom for the points 0, 3/4, -3/4, 3/2,
 * -3/2 and infinity, in double. */
#include "kernels/kernels.h"

static const double patch[6][6] = {
    {81. / 64, 0, -45. / 16, 0, 1, 0},       {0, -27. / 16, -9. / 4, 3. / 4, 1, 0}, {0, 27. / 16, -9. / 4, -3. / 4, 1, 0},
    {0, -27. / 32, -9. / 16, 3. / 2, 1, 0}, {0, 27. / 32, -9. / 16, -3. / 2, 1, 0}, {0, 81. / 64, 0, -45. / 16, 0, 1}};
static const double taps[6][3] = {{64. / 81, 0, 0},
                                  {-128. / 243, -32. / 81, -8. / 27},
                                  {-128. / 243, 32. / 81, -8. / 27},
                                  {32. / 243, 16. / 81, 8. / 27},
                                  {32. / 243, -16. / 81, 8. / 27},
                                  {0, 0, 1}};
static const double results[4][6] = {{1, 1, 1, 1, 1, 0},
                                     {0, 3. / 4, -3. / 4, 3. / 2, -3. / 2, 0},
                                     {0, 9. / 16, 9. / 16, 9. / 4, 9. / 4, 0},
                                     {0, 27. / 64, -27. / 64, 27. / 8, -27. / 8, 1}};

/* Element (row, column) of a matrix of `columns` columns, or of its transpose. */
static double element(const double *matrix, int columns, bool turned, int row, int column) {
    return turned ? matrix[column * columns + row] : matrix[row * columns + column];
}

/* left * square * left' for one channel: square n x n, the result at (row, column). */
static double sandwich(const double *matrix, int columns, bool turned, int n, const double *square, int row, int column) {
    double sum = 0;
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++)
            sum += element(matrix, columns, turned, row, y) * square[y * n + x] *
                   element(matrix, columns, turned, column, x);
    return sum;
}

static void into(const double *matrix, int columns, bool turned, int n, int64_t c, const float *const *from, float *to,
                 int64_t slot) {
    double square[36];
    for (int64_t i = 0; i < c; i++) {
        for (int p = 0; p < n * n; p++) square[p] = (double)from[p][i];
        for (int p = 0; p < 36; p++) to[p * slot + i] = (float)sandwich(matrix, columns, turned, n, square, p / 6, p % 6);
    }
}

static void out_of(const double *matrix, int columns, bool turned, int m, int64_t c, const float *from, int64_t slot,
                   const float *bias, float *const *to) {
    double square[36];
    for (int64_t i = 0; i < c; i++) {
        for (int p = 0; p < 36; p++) square[p] = (double)from[p * slot + i];
        for (int p = 0; p < m * m; p++)
            to[p][i] = (float)(sandwich(matrix, columns, turned, 6, square, p / m, p % m) + (bias ? (double)bias[i] : 0));
    }
}

void PK_NAME(winograd_patch)(int64_t c, const float *const *x, float *to, int64_t slot) {
    into(&patch[0][0], 6, false, 6, c, x, to, slot);
}

void PK_NAME(winograd_slopes)(int64_t c, const float *const *dy, float *to, int64_t slot) {
    into(&results[0][0], 6, true, 4, c, dy, to, slot);
}

void PK_NAME(winograd_taps)(int64_t c, const float *const *w, float *to, int64_t slot) {
    into(&taps[0][0], 3, false, 3, c, w, to, slot);
}

void PK_NAME(winograd_results)(int64_t c, const float *from, int64_t slot, const float *bias, float *const *y) {
    out_of(&results[0][0], 6, false, 4, c, from, slot, bias, y);
}

void PK_NAME(winograd_taps_grad)(int64_t c, const float *from, int64_t slot, float *const *dw) {
    out_of(&taps[0][0], 3, true, 3, c, from, slot, NULL, dw);
}

/* Kernels of another size: a matrix for the rows, one for the columns, and their product with each channel's kernel. */
#include "io/kernel_fit.h"

#include <math.h>

#include "core/alloc.h"
#include "core/checked.h"

pk_status pk_bands_of_one(int64_t n, pk_ints *out) {
    PK_RETURN_IF(n < 1 || n > PK_MAX_LIST, PK_EINVAL, "a kernel of side %lld cannot be resized: wants 1 to %d",
                 (long long)n, PK_MAX_LIST);
    out->n = (int32_t)n;
    for (int32_t i = 0; i < n; i++) out->v[i] = 1;
    return PK_OK;
}

static int64_t total(const pk_ints *bands) {
    int64_t sum = 0;
    for (int32_t i = 0; i < bands->n; i++) sum += bands->v[i];
    return sum;
}

/* How much of tap x (from the centre of the old kernel) tap y (from that of the new one) takes. */
static double pad_share(int64_t x, int64_t y) { return x == y; }

/* A triangle of half-width `reach` around `centre`, not yet normalised: linear interpolation; wider when shrinking. */
static double scale_share(int64_t x, double centre, double reach) {
    return fmax(0, 1 - fabs((double)x - centre) / reach);
}

/* One row of the resizing matrix: what the new tap y takes of each old tap. */
static void make_row(double *row, int64_t old, int64_t new, int64_t y, pk_resize how, bool kernel) {
    double ratio = (double)old / (double)new, sum = 0;
    for (int64_t x = 0; x < old; x++) {
        row[x] = how == PK_RESIZE_PAD ? pad_share(x - old / 2, y - new / 2)
                                      : scale_share(x, ((double)y + 0.5) * ratio - 0.5, fmax(ratio, 1));
        sum += row[x];
    }
    for (int64_t x = 0; how == PK_RESIZE_SCALE && x < old; x++) row[x] *= (kernel ? ratio : 1) / sum;
}

/* {to->n, from->n}: the mean over each new band of the resized taps that each old band spreads over. */
static double *make_matrix(const pk_ints *from, const pk_ints *to, pk_resize how, bool kernel) {
    int64_t old = total(from), new = total(to);
    double *m = pk_alloc_zeroed((int64_t)to->n * from->n * (int64_t)sizeof *m);
    double *row = m ? pk_alloc(old * (int64_t)sizeof *row) : NULL;
    if (!row) {
        pk_free(m);
        return NULL;
    }
    for (int64_t i = 0, y = 0; i < to->n; i++)
        for (int32_t in_band = 0; in_band < to->v[i]; in_band++, y++) {
            make_row(row, old, new, y, how, kernel);
            for (int64_t j = 0, x = 0; j < from->n; j++)
                for (int32_t k = 0; k < from->v[j]; k++, x++) m[i * from->n + j] += row[x] / to->v[i];
        }
    pk_free(row);
    return m;
}

/* out {rows->n, cols->n} = R in {.., ..} C^T for one channel; half: room for {rows of in, columns of out}. */
static void apply(const double *rows, const double *cols, const int64_t in_size[2], const int64_t out_size[2],
                  const float *in, double *half, float *out) {
    for (int64_t a = 0; a < in_size[0]; a++)
        for (int64_t j = 0; j < out_size[1]; j++) {
            double sum = 0;
            for (int64_t b = 0; b < in_size[1]; b++) sum += cols[j * in_size[1] + b] * in[a * in_size[1] + b];
            half[a * out_size[1] + j] = sum;
        }
    for (int64_t i = 0; i < out_size[0]; i++)
        for (int64_t j = 0; j < out_size[1]; j++) {
            double sum = 0;
            for (int64_t a = 0; a < in_size[0]; a++) sum += rows[i * in_size[0] + a] * half[a * out_size[1] + j];
            out[i * out_size[1] + j] = (float)sum;
        }
}

pk_status pk_kernel_resize(const pk_tensor *given, const pk_ints from[2], const pk_ints to[2], pk_resize how,
                           bool kernel, pk_tensor **out) {
    int64_t in_size[2] = {from[0].n, from[1].n}, out_size[2] = {to[0].n, to[1].n}, shape[PK_MAX_DIMS];
    int64_t channels = pk_numel(given) / pk_max(in_size[0] * in_size[1], 1);
    pk_tensor *packed = NULL;
    *out = NULL;
    for (int d = 0; d < given->ndim; d++)
        shape[d] = d < given->ndim - 2 ? given->shape[d] : out_size[d - given->ndim + 2];
    double *rows = make_matrix(&from[0], &to[0], how, kernel), *cols = make_matrix(&from[1], &to[1], how, kernel);
    double *half = pk_alloc(in_size[0] * out_size[1] * (int64_t)sizeof *half);
    pk_status status = rows && cols && half ? PK_OK : pk_no_memory(in_size[0] * out_size[0] * (int64_t)sizeof *rows);
    if (status == PK_OK) status = pk_tensor_contiguous((pk_tensor *)given, &packed);
    if (status == PK_OK) status = pk_tensor_new(PK_FLOAT32, given->ndim, shape, out);
    for (int64_t c = 0; status == PK_OK && c < channels; c++)
        apply(rows, cols, in_size, out_size, pk_f32(packed) + c * in_size[0] * in_size[1], half,
              pk_f32(*out) + c * out_size[0] * out_size[1]);
    pk_tensor_release(packed);
    pk_free(rows);
    pk_free(cols);
    pk_free(half);
    return status;
}

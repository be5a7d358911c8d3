/* Moving elements between strided windows: copy with conversion and broadcasting, accumulate, fill, single elements. */
#include <string.h>

#include "core/checked.h"
#include "core/pool.h"
#include "core/tensor.h"

/* Two windows walked together, outer dimensions by an odometer, the innermost by a row function. Dimensions that are
 * one run in both windows are merged, so that contiguous tensors are a single row. */
typedef struct walk {
    int ndim;
    int64_t shape[PK_MAX_DIMS], dst[PK_MAX_DIMS], src[PK_MAX_DIMS];
} walk;

static void walk_make(walk *w, const pk_tensor *dst, const pk_tensor *src) {
    w->ndim = 0;
    for (int d = 0; d < dst->ndim; d++) {
        if (dst->shape[d] == 1) continue;
        int s = src ? d - (dst->ndim - src->ndim) : -1;
        int64_t ds = dst->stride[d], ss = s >= 0 && src->shape[s] != 1 ? src->stride[s] : 0;
        int last = w->ndim - 1;
        if (last >= 0 && w->dst[last] == ds * dst->shape[d] && w->src[last] == ss * dst->shape[d]) {
            w->shape[last] *= dst->shape[d];
            w->dst[last] = ds;
            w->src[last] = ss;
            continue;
        }
        w->shape[w->ndim] = dst->shape[d];
        w->dst[w->ndim] = ds;
        w->src[w->ndim] = ss;
        w->ndim++;
    }
    if (w->ndim == 0) {
        w->shape[0] = 1;
        w->dst[0] = w->src[0] = 1;
        w->ndim = 1;
    }
}

typedef void row_function(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n, double value);

typedef struct walk_job {
    walk w;
    char *dst;
    const char *src;
    int64_t dst_size, src_size; /* of an element */
    row_function *row;
    double value;
    int64_t rows, chunks;
} walk_job;

static void walk_rows(void *context, int64_t index, int worker) {
    (void)worker;
    const walk_job *j = context;
    const walk *w = &j->w;
    int inner = w->ndim - 1;
    int64_t end = pk_chunk_begin(j->rows, j->chunks, index + 1);
    for (int64_t r = pk_chunk_begin(j->rows, j->chunks, index); r < end; r++) {
        int64_t rest = r, d_at = 0, s_at = 0;
        for (int d = inner - 1; d >= 0; d--) {
            int64_t i = rest % w->shape[d];
            rest /= w->shape[d];
            d_at += i * w->dst[d];
            s_at += i * w->src[d];
        }
        j->row(j->dst + d_at * j->dst_size, w->dst[inner], j->src ? j->src + s_at * j->src_size : NULL, w->src[inner],
               w->shape[inner], j->value);
    }
}

/* serial: rows may write the same elements (sums into an expanded window), so they run in order. */
static void walk_run(pk_tensor *dst, const pk_tensor *src, row_function *row, double value, bool serial) {
    if (pk_numel(dst) == 0) return;
    walk_job j = {.dst = pk_bytes(dst), .src = src ? pk_bytes(src) : NULL, .dst_size = pk_dtype_size(dst->dtype),
                  .src_size = src ? pk_dtype_size(src->dtype) : 0, .row = row, .value = value, .rows = 1};
    walk_make(&j.w, dst, src);
    if (j.w.ndim == 1 && j.w.shape[0] > 1 << 16) { /* one long row: cut it for the threads */
        int64_t n = j.w.shape[0], part = (int64_t)1 << 15;
        if (n % part == 0) {
            j.w.shape[0] = n / part;
            j.w.shape[1] = part;
            j.w.dst[1] = j.w.dst[0];
            j.w.src[1] = j.w.src[0];
            j.w.dst[0] *= part;
            j.w.src[0] *= part;
            j.w.ndim = 2;
        }
    }
    for (int d = 0; d < j.w.ndim - 1; d++) j.rows *= j.w.shape[d];
    int64_t grain = pk_max(1, ((int64_t)1 << 15) / pk_max(1, j.w.shape[j.w.ndim - 1]));
    j.chunks = serial ? 1 : pk_chunks(j.rows, grain);
    pk_parallel(j.chunks, walk_rows, &j);
    pk_tensor_written(dst);
}

/* ---- rows ---- */

static int32_t to_i32(double x) {
    return x != x ? 0 : x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int32_t)x;
}
static uint8_t to_u8(double x) { return x != x ? 0 : x >= 255 ? 255 : x <= 0 ? 0 : (uint8_t)x; }

#define ROW(name, dst_type, src_type, convert)                                                              \
    static void name(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n, double value) {          \
        dst_type *d = dst;                                                                                  \
        const src_type *s = src;                                                                            \
        (void)value;                                                                                        \
        for (int64_t i = 0; i < n; i++) d[i * ds] = convert(s[i * ss]);                                     \
    }
ROW(f32_f32_strided, float, float, )
ROW(f32_i32, float, int32_t, (float))
ROW(f32_u8, float, uint8_t, (float))
ROW(i32_f32, int32_t, float, to_i32)
ROW(i32_i32, int32_t, int32_t, )
ROW(i32_u8, int32_t, uint8_t, )
ROW(u8_f32, uint8_t, float, to_u8)
ROW(u8_i32, uint8_t, int32_t, to_u8)
ROW(u8_u8, uint8_t, uint8_t, )

static void f32_f32(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n, double value) {
    if (ds == 1 && ss == 1)
        memmove(dst, src, (size_t)n * sizeof(float));
    else
        f32_f32_strided(dst, ds, src, ss, n, value);
}

static void add_row(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n, double value) {
    float *d = dst;
    const float *s = src;
    (void)value;
    if (ds == 0) { /* a sum: in double, so that long rows stay exact */
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += s[i * ss];
        *d += (float)sum;
        return;
    }
    for (int64_t i = 0; i < n; i++) d[i * ds] += s[i * ss];
}

#define FILL(name, type, convert)                                                                           \
    static void name(void *dst, int64_t ds, const void *src, int64_t ss, int64_t n, double value) {          \
        type *d = dst, v = convert(value);                                                                  \
        (void)src, (void)ss;                                                                                \
        if (ds == 1 && v == 0)                                                                              \
            memset(d, 0, (size_t)n * sizeof *d);                                                            \
        else                                                                                                \
            for (int64_t i = 0; i < n; i++) d[i * ds] = v;                                                  \
    }
FILL(fill_f32, float, (float))
FILL(fill_i32, int32_t, to_i32)
FILL(fill_u8, uint8_t, to_u8)

/* ---- the public functions ---- */

/* Several places of the window are one element. */
static bool is_expanded(const pk_tensor *t) {
    bool expanded = false;
    for (int d = 0; d < t->ndim; d++) expanded |= t->shape[d] > 1 && t->stride[d] == 0;
    return expanded;
}

/* Bytes behind the window's first element up to its end; strides are never negative. */
static int64_t span_of(const pk_tensor *t) {
    int64_t last = 0;
    for (int d = 0; d < t->ndim; d++) last += (t->shape[d] - 1) * t->stride[d];
    return (last + 1) * pk_dtype_size(t->dtype);
}

/* May writing one change the other? Not where both are empty, or one window. */
static bool overlap(const pk_tensor *a, const pk_tensor *b) {
    if (a->storage != b->storage || pk_numel(a) == 0 || pk_numel(b) == 0) return false;
    const char *x = pk_bytes(a), *y = pk_bytes(b);
    if (x == y && pk_same_shape(a, b) && memcmp(a->stride, b->stride, (size_t)a->ndim * sizeof *a->stride) == 0)
        return false;
    return x < y + span_of(b) && y < x + span_of(a);
}

pk_status pk_tensor_copy(pk_tensor *dst, const pk_tensor *src) {
    static row_function *const rows[3][3] = {
        {f32_f32, f32_i32, f32_u8}, {i32_f32, i32_i32, i32_u8}, {u8_f32, u8_i32, u8_u8}};
    int ndim;
    int64_t shape[PK_MAX_DIMS];
    bool fits = pk_broadcast(dst->ndim, dst->shape, src->ndim, src->shape, &ndim, shape) && ndim == dst->ndim;
    for (int d = 0; fits && d < ndim; d++) fits = shape[d] == dst->shape[d];
    PK_RETURN_IF(!fits, PK_EINVAL, "copy: shape %s does not broadcast to %s", pk_shape_text(src), pk_shape_text(dst));
    pk_tensor *apart = NULL; /* what is copied while it is written over */
    if (overlap(dst, src)) {
        PK_TRY(pk_tensor_like(src, &apart));
        walk_run(apart, src, rows[src->dtype][src->dtype], 0, false);
    }
    walk_run(dst, apart ? apart : src, rows[dst->dtype][src->dtype], 0, is_expanded(dst));
    pk_tensor_release(apart);
    return PK_OK;
}

pk_status pk_tensor_accumulate(pk_tensor *dst, const pk_tensor *src) {
    PK_RETURN_IF(!pk_same_shape(dst, src), PK_EINVAL, "accumulate: shape %s into %s", pk_shape_text(src), pk_shape_text(dst));
    PK_RETURN_IF(dst->dtype != PK_FLOAT32 || src->dtype != PK_FLOAT32, PK_EINVAL, "accumulate: float32 only");
    walk_run(dst, src, add_row, 0, is_expanded(dst));
    return PK_OK;
}

pk_status pk_tensor_fill(pk_tensor *t, double value) {
    static row_function *const rows[3] = {fill_f32, fill_i32, fill_u8};
    walk_run(t, NULL, rows[t->dtype], value, is_expanded(t));
    t->stale = false;
    return PK_OK;
}

pk_status pk_tensor_contiguous(pk_tensor *t, pk_tensor **out) {
    if (pk_is_contiguous(t)) {
        *out = pk_tensor_retain(t);
        return PK_OK;
    }
    PK_TRY(pk_tensor_like(t, out));
    return pk_tensor_copy(*out, t);
}

double pk_tensor_get(const pk_tensor *t, const int64_t *index) {
    int64_t at = 0;
    for (int d = 0; d < t->ndim; d++) at += index[d] * t->stride[d];
    return t->dtype == PK_FLOAT32 ? (double)pk_f32(t)[at] : t->dtype == PK_INT32 ? (double)pk_i32(t)[at] : pk_u8(t)[at];
}

/* Window kernels over whole tensors: see window_run.h. */
#include "ops/window_run.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"
#include "kernels/kernels.h"

enum { LINE = 64 / sizeof(float), WEIGHT_CHUNKS = 16 }; /* partial weight gradients: so many groups of images at most */

typedef struct job {
    const pk_kernels *k;
    const pk_window *p;
    pk_window_io io;             /* of image 0, channel 0 */
    int64_t n, c, blocks, lanes; /* images, channels; blocks of `lanes` channels */
    int64_t together, tasks;     /* blocks of a task, whose channels share cache lines; tasks an image */
    int64_t x_image, y_image;    /* floats from one image to the next */
    int64_t chunks, weights;     /* weight gradient: groups of images; floats of dw */
    char *scratch;
    int64_t scratch_bytes;       /* of one worker */
} job;

static pk_status begin(job *j, pk_window *p, const pk_tensor *x, const pk_tensor *y) {
    int64_t ldx = 0;
    pk_is_rows(x, &ldx);
    j->k = pk_k();
    j->p = p;
    j->n = x->shape[0], j->c = x->shape[3];
    j->lanes = j->k->window_lanes();
    j->blocks = pk_ceil_div(j->c, j->lanes);
    j->together = pk_max(1, LINE / j->lanes);
    j->tasks = pk_ceil_div(j->blocks, j->together);
    j->x_image = x->shape[1] * x->shape[2] * ldx;
    j->y_image = y->shape[1] * y->shape[2] * j->c;
    j->io = (pk_window_io){.x = pk_f32(x), .y = pk_f32(y), .ldx = ldx, .ldy = j->c, .ldw = j->c, .ldmap = j->c};
    j->scratch_bytes = pk_round_up(j->k->window_scratch(p), 4096) + 192; /* workers' planes do not share cache sets */
    int64_t bytes;
    if (!pk_mul_ok(j->scratch_bytes, pk_threads(), &bytes)) return pk_no_memory(INT64_MAX);
    j->scratch = pk_alloc(bytes);
    return j->scratch ? PK_OK : pk_no_memory(bytes);
}

/* The call's pointers for image n and channel block b. */
static pk_window_io place(const job *j, int64_t n, int64_t b, int worker) {
    pk_window_io io = j->io;
    int64_t c = b * j->lanes;
    io.x += n * j->x_image + c;
    io.y += n * j->y_image + c;
    if (io.w) io.w += c;
    if (io.bias) io.bias += c;
    if (io.map) io.map += c;
    io.lanes = (int32_t)pk_min(j->lanes, j->c - c);
    io.scratch = j->scratch + worker * j->scratch_bytes;
    return io;
}

/* Tasks that follow each other, and so run at once, work on other images and far channels: processors fetch the lines
 * beside those they are asked for, and would fetch what another one writes. */
static void forward_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t n = index % j->n, turn = index / j->n, half = (j->tasks + 1) / 2;
    const int64_t first = (turn % 2 * half + turn / 2) * j->together;
    for (int64_t b = first; b < pk_min(j->blocks, first + j->together); b++) {
        pk_window_io io = place(j, n, b, worker);
        j->k->window_forward(j->p, &io);
    }
}

pk_status pk_window_run(const pk_axis *rows, const pk_axis *cols, const pk_tensor *x, const float *w, const float *bias,
                        const float *map, const pk_tensor *y) {
    pk_window *p;
    job j = {0};
    if (pk_numel(y) == 0) return PK_OK;
    PK_TRY(pk_window_new(rows, cols, &p));
    pk_status status = begin(&j, p, x, y);
    if (status == PK_OK) {
        j.io.w = w, j.io.bias = bias, j.io.map = map;
        pk_parallel(j.n * j.tasks, forward_task, &j);
    }
    pk_free(j.scratch);
    pk_free(p);
    return status;
}

pk_status pk_window_run_back(const pk_axis *rows, const pk_axis *cols, const pk_tensor *dy, const float *w,
                             const pk_tensor *dx) {
    pk_axis back_rows = pk_axis_back(rows), back_cols = pk_axis_back(cols);
    return pk_window_run(&back_rows, &back_cols, dy, w, NULL, NULL, dx);
}

/* One group of images: its partial gradient. */
static void weights_task(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t chunk = index / j->tasks, end = pk_chunk_begin(j->n, j->chunks, chunk + 1);
    const int64_t first = index % j->tasks * j->together;
    for (int64_t n = pk_chunk_begin(j->n, j->chunks, chunk); n < end; n++) {
        for (int64_t b = first; b < pk_min(j->blocks, first + j->together); b++) {
            pk_window_io io = place(j, n, b, worker);
            io.dw = j->io.dw + chunk * j->weights + b * j->lanes;
            j->k->window_wgrad(j->p, &io);
        }
    }
}

static pk_status run_weights(job *j, float *dw) {
    int64_t bytes;
    j->chunks = pk_chunks(j->n, pk_ceil_div(j->n, WEIGHT_CHUNKS));
    if (!pk_mul_ok(j->chunks * (int64_t)sizeof(float), j->weights, &bytes)) return pk_no_memory(INT64_MAX);
    float *partial = pk_alloc_zeroed(bytes);
    if (!partial) return pk_no_memory(bytes);
    j->io.dw = partial;
    pk_parallel(j->chunks * j->tasks, weights_task, j);
    memcpy(dw, partial, (size_t)j->weights * sizeof *dw);
    for (int64_t i = 1; i < j->chunks; i++) j->k->add_to(j->weights, dw, partial + i * j->weights);
    pk_free(partial);
    return PK_OK;
}

pk_status pk_window_run_weights(const pk_axis *rows, const pk_axis *cols, const pk_tensor *x, const pk_tensor *dy,
                                float *dw) {
    pk_window *p;
    job j = {.weights = (int64_t)rows->count * cols->count * x->shape[3]};
    if (pk_numel(dy) == 0 || pk_numel(x) == 0) {
        memset(dw, 0, (size_t)j.weights * sizeof *dw);
        return PK_OK;
    }
    PK_TRY(pk_window_new(rows, cols, &p));
    pk_status status = begin(&j, p, x, dy);
    if (status == PK_OK) status = run_weights(&j, dw);
    pk_free(j.scratch);
    pk_free(p);
    return status;
}

pk_status pk_window_products(const pk_axis *rows, const pk_axis *cols, double *products) {
    pk_window *p;
    PK_TRY(pk_window_new(rows, cols, &p));
    *products = p->products;
    pk_free(p);
    return PK_OK;
}

/* ---- sums over images ---- */

typedef struct image_sum {
    const float *t;
    float *sum;
    int64_t n, size, chunks;
} image_sum;

static void sum_task(void *context, int64_t index, int worker) {
    const image_sum *s = context;
    int64_t at = pk_chunk_begin(s->size, s->chunks, index), count = pk_chunk_begin(s->size, s->chunks, index + 1) - at;
    (void)worker;
    memset(s->sum + at, 0, (size_t)count * sizeof *s->sum);
    for (int64_t n = 0; n < s->n; n++) pk_k()->add_to(count, s->sum + at, s->t + n * s->size + at);
}

void pk_sum_images(const pk_tensor *t, float *sum) {
    image_sum s = {.t = pk_f32(t), .sum = sum, .n = t->shape[0], .size = t->shape[1] * t->shape[2] * t->shape[3]};
    if (s.size == 0) return;
    s.chunks = pk_chunks(s.size, 8192);
    pk_parallel(s.chunks, sum_task, &s);
}

#include "ops/winograd.h"

#include <string.h>

#include "core/alloc.h"
#include "kernels/product.h"

enum {
    TILE = 4, SEEN = 6, PLACES = SEEN * SEEN, TAPS = 9,
    LINE = 16,                  /* floats of a cache line; one lies between slots, so that they do not share its sets */
    TASK_FLOATS = 384 * 1024,   /* of a task's tiles: they stay in the last cache */
    RUN = 24, RUN_DW = 48,      /* tiles at a time, at least: with fewer the products read and write more than they multiply */
    PART = 24, LONG_PART = 512, /* tiles that get sums of their own: up to 4 parts; more parts than that */
    MAX_SUMS = 1 << 22,         /* floats of all partial sums, or 4 parts if those are more */
    GATHERED = 16,              /* input channels whose taps are gathered at a time */
    /* Where it pays (measured): fewer tiles or channels are dearer than patches; weights in the domain take four times
     * their memory, and as much again for each part of their gradient. */
    MIN_TILES = 16, MIN_TILES_DW = 48, MIN_CHANNELS = 16, MAX_CHANNELS = 512, MAX_WEIGHTS = 1 << 17,
    MAX_WEIGHTS_DW = 1 << 15
};

/* Images, pixels `pixel` floats apart; read or written. */
typedef struct images {
    int64_t h, w, c, pixel;
    float *at;
} images;

/* Which pixels the tiles see, and what they make. */
typedef struct job {
    images from, to;
    int64_t top, left;                /* padding around `from` */
    int64_t across, per_image, tiles; /* tiles in a row, in an image, in all */
    int64_t run, slot;                /* tiles at a time; floats between two places of them */
    int64_t u_slot;                   /* floats between two places of the weights */
    float *u;                         /* the weights, or the sums of their gradient, in the domain */
    const float *w, *bias;            /* w {out,3,3,in} */
    float *dw;                        /* likewise */
    float *scratch;
    int64_t stride;                   /* of the scratch: floats a worker */
} job;

static job job_of(int64_t n, images from, images to, int64_t top, int64_t left) {
    job j = {.from = from, .to = to, .top = top, .left = left, .u_slot = from.c * to.c + LINE};
    j.across = pk_ceil_div(to.w, TILE);
    j.per_image = j.across * pk_ceil_div(to.h, TILE);
    j.tiles = n * j.per_image;
    return j;
}

static job forward_job(const pk_plane *p, int64_t out, const float *x, const float *y) {
    return job_of(p->n, (images){p->h, p->w, p->c, p->pixel, (float *)x}, (images){p->oh, p->ow, out, out, (float *)y},
                  p->py, p->px);
}

/* The gradient of x is the convolution of dy with the kernel turned round. */
static job back_job(const pk_plane *p, int64_t out, const float *dy, float *dx) {
    return job_of(p->n, (images){p->oh, p->ow, out, out, (float *)dy}, (images){p->h, p->w, p->c, p->c, dx}, 2 - p->py,
                  2 - p->px);
}

double pk_winograd_macs(const pk_plane *p, int64_t out) {
    const job j = forward_job(p, out, NULL, NULL);
    return (double)j.tiles * PLACES * (double)p->c * (double)out;
}

static bool fits(const pk_plane *p, int64_t in, int64_t out) {
    return p->kh == 3 && p->kw == 3 && p->sy == 1 && p->sx == 1 && p->dy == 1 && p->dx == 1 && p->py <= 2 && p->px <= 2 &&
           in == p->c && in >= MIN_CHANNELS && in <= MAX_CHANNELS && out >= MIN_CHANNELS && out <= MAX_CHANNELS &&
           in * out <= MAX_WEIGHTS;
}

/* Tiles enough, and at most two thirds of the direct products: tiles hang over the edges of small maps. */
static bool saves(job j, int64_t tiles) {
    return j.tiles >= tiles && 3.0 * PLACES * (double)j.per_image <= 2.0 * TAPS * (double)j.to.h * (double)j.to.w;
}

bool pk_winograd_pays(const pk_plane *p, int64_t in, int64_t out) {
    return fits(p, in, out) && saves(forward_job(p, out, NULL, NULL), MIN_TILES);
}

bool pk_winograd_pays_dx(const pk_plane *p, int64_t in, int64_t out) {
    return fits(p, in, out) && saves(back_job(p, out, NULL, NULL), MIN_TILES);
}

bool pk_winograd_pays_dw(const pk_plane *p, int64_t in, int64_t out) {
    return fits(p, in, out) && in * out <= MAX_WEIGHTS_DW && saves(forward_job(p, out, NULL, NULL), MIN_TILES_DW);
}

/* ---- tiles ---- */

/* side x side pixels of image n from (y, x) on; `outside` for those that it does not have. */
static void pixels_at(const images *s, int64_t n, int64_t y, int64_t x, int side, float *outside, float **at) {
    for (int a = 0; a < side; a++) {
        const bool row = y + a >= 0 && y + a < s->h;
        for (int b = 0; b < side; b++, at++)
            *at = row && x + b >= 0 && x + b < s->w ? s->at + ((n * s->h + y + a) * s->w + x + b) * s->pixel : outside;
    }
}

static int64_t widest(const job *j) { return pk_max(j->from.c, j->to.c); }

/* A worker's scratch: that of products; a pixel of zeros and one that nobody reads; the tiles. Behind the workers': u. */
static float *products_scratch(const job *j, int worker) { return j->scratch + worker * j->stride; }
static float *zeros_of(const job *j, int worker) { return products_scratch(j, worker) + pk_product_scratch(); }
static float *unread_of(const job *j, int worker) { return zeros_of(j, worker) + widest(j); }
static float *tiles_at(const job *j, int worker) { return zeros_of(j, worker) + pk_round_up(2 * widest(j), LINE); }

/* floats: of a worker's tiles. */
static pk_status new_scratch(job *j, int64_t floats) {
    const int workers = pk_threads();
    j->stride = pk_product_scratch() + pk_round_up(2 * widest(j), LINE) + pk_round_up(floats, LINE);
    const int64_t bytes = (workers * j->stride + PLACES * j->u_slot) * (int64_t)sizeof(float);
    j->scratch = pk_alloc(bytes);
    if (!j->scratch) return pk_no_memory(bytes);
    j->u = j->scratch + workers * j->stride;
    for (int i = 0; i < workers; i++) memset(zeros_of(j, i), 0, (size_t)widest(j) * sizeof(float));
    return PK_OK;
}

typedef void into_kernel(int64_t c, const float *const *from, float *to, int64_t slot);

/* Squares of `side` pixels of the tiles t0 .. t1-1, `above` and `before` a tile's first output, into the domain. */
static void transform(const job *j, const images *s, into_kernel *into, int side, int64_t above, int64_t before,
                      int64_t t0, int64_t t1, int worker, float *to, int64_t slot) {
    float *pixel[PLACES];
    for (int64_t t = t0; t < t1; t++, to += s->c) {
        const int64_t n = t / j->per_image, i = t % j->per_image;
        pixels_at(s, n, i / j->across * TILE - above, i % j->across * TILE - before, side, zeros_of(j, worker), pixel);
        into(s->c, (const float *const *)pixel, to, slot);
    }
}

/* ---- forward, and back to x ---- */

static void convolve_run(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t t0 = index * j->run, t1 = pk_min(j->tiles, t0 + j->run);
    float *tiles = tiles_at(j, worker), *pixel[TILE * TILE];
    /* place p lies in slot p + 1, and the product with its weights in slot p */
    transform(j, &j->from, pk_k()->winograd_patch, SEEN, j->top, j->left, t0, t1, worker, tiles + j->slot, j->slot);
    for (int p = 0; p < PLACES; p++) {
        const pk_product product = {.m = t1 - t0, .n = j->to.c, .k = j->from.c, .a = tiles + (p + 1) * j->slot,
                                    .lda = j->from.c, .b = j->u + p * j->u_slot, .ldb = j->to.c,
                                    .c = tiles + p * j->slot, .ldc = j->to.c};
        pk_product_here(&product, false, products_scratch(j, worker));
    }
    for (int64_t t = t0; t < t1; t++, tiles += j->to.c) {
        const int64_t n = t / j->per_image, i = t % j->per_image;
        pixels_at(&j->to, n, i / j->across * TILE, i % j->across * TILE, TILE, unread_of(j, worker), pixel);
        pk_k()->winograd_results(j->to.c, tiles, j->slot, j->bias, pixel);
    }
}

/* `transform_weights` makes j->u in `count` tasks. */
static pk_status convolve(job *j, pk_task *transform_weights, int64_t count) {
    const int64_t most = TASK_FLOATS / (widest(j) * (PLACES + 1)), least = pk_min(RUN, pk_ceil_div(j->tiles, 2));
    j->run = pk_max(pk_max(1, least), pk_min(pk_ceil_div(j->tiles, 16), most));
    j->slot = j->run * widest(j) + LINE;
    PK_TRY(new_scratch(j, pk_max((PLACES + 1) * j->slot, GATHERED * TAPS * j->to.c)));
    pk_parallel(count, transform_weights, j);
    pk_parallel(pk_ceil_div(j->tiles, j->run), convolve_run, j);
    pk_free(j->scratch);
    return PK_OK;
}

/* u[place][in][out], GATHERED input channels a task. */
static void weights_forward(void *context, int64_t index, int worker) {
    const job *j = context;
    const int64_t in = j->from.c, out = j->to.c, i0 = index * GATHERED, count = pk_min(GATHERED, in - i0);
    float *gathered = tiles_at(j, worker); /* [count][TAPS][out] */
    for (int64_t o = 0; o < out; o++)
        for (int t = 0; t < TAPS; t++)
            for (int64_t i = 0; i < count; i++)
                gathered[(i * TAPS + t) * out + o] = j->w[(o * TAPS + t) * in + i0 + i];
    for (int64_t i = 0; i < count; i++) {
        const float *tap[TAPS];
        for (int t = 0; t < TAPS; t++) tap[t] = gathered + (i * TAPS + t) * out;
        pk_k()->winograd_taps(out, tap, j->u + (i0 + i) * out, j->u_slot);
    }
}

pk_status pk_winograd_forward(const pk_plane *plane, const float *x, const float *w, const float *b, int64_t out,
                              float *y) {
    job j = forward_job(plane, out, x, y);
    j.w = w;
    j.bias = b;
    return convolve(&j, weights_forward, pk_ceil_div(plane->c, GATHERED));
}

/* u[place][out][in] of the kernel turned round, an output channel a task. */
static void weights_back(void *context, int64_t o, int worker) {
    const job *j = context;
    const float *tap[TAPS];
    (void)worker;
    for (int t = 0; t < TAPS; t++) tap[t] = j->w + (o * TAPS + TAPS - 1 - t) * j->to.c;
    pk_k()->winograd_taps(j->to.c, tap, j->u + o * j->to.c, j->u_slot);
}

pk_status pk_winograd_dx(const pk_plane *plane, const float *dy, const float *w, int64_t out, float *dx) {
    job j = back_job(plane, out, dy, dx);
    j.w = w;
    return convolve(&j, weights_back, out);
}

/* ---- back to the weights ---- */

static void add_weights(void *context, int64_t begin, int64_t end, int worker, float *sums) {
    const job *j = context;
    const int64_t in = j->from.c, out = j->to.c, slot_x = j->run * in + LINE, slot_y = j->run * out + LINE;
    float *x = tiles_at(j, worker), *dy = x + PLACES * slot_x;
    for (int64_t t0 = begin; t0 < end; t0 += j->run) {
        const int64_t t1 = pk_min(end, t0 + j->run);
        transform(j, &j->from, pk_k()->winograd_patch, SEEN, j->top, j->left, t0, t1, worker, x, slot_x);
        transform(j, &j->to, pk_k()->winograd_slopes, TILE, 0, 0, t0, t1, worker, dy, slot_y);
        for (int p = 0; p < PLACES; p++) {
            const pk_product product = {.ta = true, .m = out, .n = in, .k = t1 - t0, .a = dy + p * slot_y, .lda = out,
                                        .b = x + p * slot_x, .ldb = in, .c = sums + p * j->u_slot, .ldc = in};
            pk_product_here(&product, true, products_scratch(j, worker));
        }
    }
}

static void weights_gradient(void *context, int64_t o, int worker) {
    const job *j = context;
    float *tap[TAPS];
    (void)worker;
    for (int t = 0; t < TAPS; t++) tap[t] = j->dw + (o * TAPS + t) * j->from.c;
    pk_k()->winograd_taps_grad(j->from.c, j->u + o * j->from.c, j->u_slot, tap);
}

pk_status pk_winograd_dw(const pk_plane *plane, const float *x, const float *dy, int64_t out, float *dw) {
    job j = forward_job(plane, out, x, dy);
    const int64_t in = plane->c, few = pk_min(4, j.tiles / PART), most = pk_max(4, MAX_SUMS / (PLACES * j.u_slot));
    const int64_t parts = pk_max(pk_max(1, few), pk_min(most, j.tiles / LONG_PART));
    j.dw = dw;
    j.run = pk_min(pk_max(RUN_DW, TASK_FLOATS / ((in + out) * PLACES)), pk_max(1, pk_ceil_div(j.tiles, parts)));
    PK_TRY(new_scratch(&j, PLACES * (j.run * (in + out) + 2 * LINE)));
    const pk_sum sum = {1, j.tiles, parts, 0, PLACES * j.u_slot, add_weights, &j};
    const pk_status status = pk_sum_run(&sum, j.u);
    if (status == PK_OK) pk_parallel(out, weights_gradient, &j);
    pk_free(j.scratch);
    return status;
}

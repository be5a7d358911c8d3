/* Matrix products by register tiles of MR rows x up to NV vectors (BLIS's scheme). A strip of up to NV vectors of b's
 * columns is packed, KC products deep, [k][width], and used from the first cache by all rows of the block; meanwhile the
 * lines that the next strip comes from are asked for. a is read by broadcasts where it lies when its rows do: packing
 * those was measured and cost more than it gave. An a that is stored [k][m] uses MR floats of each line it touches, so a
 * panel of PANEL rows is packed, [k][MR], when there are strips enough to use it. Loads per multiply-add:
 * (MR + NV) / (MR * NV). */
#include "kernels/kernels.h"
#include "kernels/vec.h"

#define NV 3
#define MR (VREGS / 4)
enum {
    KC = VL == 8 ? 256 : 200, /* products: a strip of them fills three quarters of the first cache */
    KC_TURNED = 3 * KC, LINE = 64 / sizeof(float), STEP = 16,
    PANEL = 256, PANEL_STRIPS = VL == 8 ? 5 : INT32_MAX /* measured: pays with AVX2 */
};

/* n things in `count` parts that differ by one at most, the larger ones first. Divisions are slow on some processors, so
 * who walks through the parts adds up. */
typedef struct division {
    int64_t count, size, larger;
} division;

static division divide(int64_t n, int64_t count) { return (division){count, n / count, n % count}; }
static int64_t size_of(const division *d, int64_t i) { return d->size + (i < d->larger); }

static division tiles_of(int64_t m) { return divide(m, (m + MR - 1) / MR); }

int64_t PK_NAME(gemm_scratch)(void) { return KC * NV * VL + KC * PANEL; }

/* ---- packing a strip of b ---- */

/* A VL x VL block turned: row j of b becomes column j. */
PK_INLINE void transpose_block(const float *b, int64_t ldb, float *to, int64_t width) {
    vf column[VL];
    v_load_turned(b, ldb, column);
    for (int p = 0; p < VL; p++) v_store(to + p * width, column[p]);
}

/* b stored [n][k]: whole blocks, then what is left at the edges. */
static void pack_turned(int64_t k, int64_t given, int64_t width, const float *b, int64_t ldb, float *to) {
    for (int64_t j = 0, p; j < given; j += VL) {
        const int64_t columns = given - j < VL ? given - j : VL;
        for (p = 0; columns == VL && p + VL <= k; p += VL) transpose_block(b + j * ldb + p, ldb, to + p * width + j, width);
        for (; p < k; p++)
            for (int64_t i = j; i < j + columns; i++) to[p * width + i] = b[i * ldb + p];
    }
}

/* `given` columns become a strip of `width`, zeros after them. */
static void pack_strip(bool turned, int64_t k, int64_t given, int64_t width, const float *b, int64_t ldb, float *to) {
    if (turned) pack_turned(k, given, width, b, ldb, to);
    for (int64_t p = 0; p < k && (!turned || given < width); p++, to += width) {
        for (int64_t j = 0; !turned && j < given; j += VL)
            v_store(to + j, v_load_n(b + p * ldb + j, given - j < VL ? (int)(given - j) : VL));
        for (int64_t j = given; j < width; j++) to[j] = 0;
    }
}

/* A line of memory that will be wanted, perhaps one beyond the end: that does no harm. */
PK_INLINE void ask_for(const float *from, int64_t offset) {
    __builtin_prefetch((const void *)((uintptr_t)from + (uintptr_t)offset * sizeof *from));
}

/* ---- packing rows of a that is stored [k][m] ---- */

/* Rows of each tile, [k][rows], tile after tile; STEP products at a time, for their lines come together. Those of the
 * next STEP are asked for, each tile the rows of its share. */
static void pack_panel(int64_t k, int64_t m, const float *a, int64_t a_k, float *to) {
    const division heights = tiles_of(m);
    enum { TILES_A_LINE = LINE / MR, SHARE_A_TILE = STEP / TILES_A_LINE };
    for (int64_t p0 = 0; p0 < k; p0 += STEP) {
        const int64_t end = k - p0 < STEP ? k : p0 + STEP;
        for (int64_t i = 0, row = 0, rows; i < heights.count; i++, row += rows) {
            rows = size_of(&heights, i);
            float *at = to + row * k + p0 * rows;
            const float *from = a + p0 * a_k + row;
            for (int p = 0; p < SHARE_A_TILE && end < k; p++) ask_for(from, (STEP + i % TILES_A_LINE * SHARE_A_TILE + p) * a_k);
            for (int64_t p = p0; p < end; p++, at += rows, from += a_k) {
                if (rows == MR) memcpy(at, from, MR * sizeof *at);
                else for (int64_t r = 0; r < rows; r++) at[r] = from[r];
            }
        }
    }
}

/* ---- the register tile ---- */

/* Lines of memory that will be wanted next: `rows` runs of `lines` cache lines. */
typedef struct wanted {
    const float *at;
    int64_t pitch, rows, lines;
    int64_t a_step; /* lines to ask for in STEP products */
} wanted;

typedef struct tile_args {
    int64_t k, a_row, a_k, ldc;
    const float *a, *b, *bias; /* bias: of the tile's first column (turned: row), or null */
    float *c;
    bool accumulate, turned;
    int last; /* lanes of the last vector that exist in c */
    wanted next;
    bool fresh; /* a's rows are seen for the first time: the tile asks for those below its own */
} tile_args;

/* Write the tile's results, held in rows of NV * VL, as columns: a run of `rows` floats for each of its columns. */
static void write_turned(const tile_args *t, const float *held, int rows, int columns) {
    for (int j = 0; j < columns; j++) {
        float *c = t->c + j * t->ldc;
        for (int i = 0; i < rows; i++) {
            float x = held[i * NV * VL + j];
            if (t->accumulate) x += c[i];
            c[i] = t->bias ? x + t->bias[i] : x;
        }
    }
}

PK_INLINE void write_rows(const tile_args *t, vf acc[MR][NV], const int rows, const int vectors) {
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        const int lanes = v + 1 < vectors ? VL : t->last;
        const vf bias = t->bias ? v_load_n(t->bias + v * VL, lanes) : v_zero();
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            float *c = t->c + i * t->ldc + v * VL;
            vf sum = v_add(acc[i][v], bias);
            if (t->accumulate) sum = v_add(sum, v_load_n(c, lanes));
            v_store_n(c, sum, lanes);
        }
    }
}

/* Ask for the lines of c that the tile will write: it has all its products' time to fetch them. */
PK_INLINE void ask_for_results(const tile_args *t, const int rows, const int vectors) {
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) __builtin_prefetch(t->c + i * t->ldc + v * VL, 1);
}

/* `count` products deep. */
PK_INLINE void multiply(vf acc[MR][NV], const tile_args *t, const int rows, const int vectors, const float *a,
                        const float *b, int64_t count) {
    const int64_t a_row = t->a_row;
    for (int64_t p = 0; p < count; p++, a += t->a_k, b += vectors * VL) {
        vf line[NV];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) line[v] = v_load(b + v * VL);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            vf x = v_set1(a[i * a_row]);
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) acc[i][v] = v_fma(x, line[v], acc[i][v]);
        }
    }
}

/* rows and vectors are constants where this is inlined: everything in acc stays in registers. */
PK_INLINE void tile(const tile_args *t, const int rows, const int vectors) {
    vf acc[MR][NV];
    if (!t->turned) ask_for_results(t, rows, vectors);
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) acc[i][v] = v_zero();
    }
    const float *ask = t->next.at;
    int64_t left = t->next.rows * t->next.lines, line = 0;
    for (int64_t p = 0; p < t->k; p += STEP) {
        for (int64_t i = 0; i < t->next.a_step && left > 0; i++, left--) {
            __builtin_prefetch(ask + line * LINE, 0, 2);
            if (++line == t->next.lines) line = 0, ask += t->next.pitch;
        }
        for (int i = t->fresh ? rows : 2 * rows; i < 2 * rows; i++) __builtin_prefetch(t->a + i * t->a_row + p, 0, 3);
        const int64_t count = t->k - p < STEP ? t->k - p : STEP;
        multiply(acc, t, rows, vectors, t->a + p * t->a_k, t->b + p * vectors * VL, count);
    }
    if (!t->turned) {
        write_rows(t, acc, rows, vectors);
        return;
    }
    float held[MR * NV * VL];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) v_store(held + (i * NV + v) * VL, acc[i][v]);
    }
    write_turned(t, held, rows, (vectors - 1) * VL + t->last);
}

typedef void tile_function(const tile_args *);
#define TILE(rows, vectors) \
    static void tile_##rows##x##vectors(const tile_args *t) { tile(t, rows, vectors); }
#define TILES(rows) TILE(rows, 1) TILE(rows, 2) TILE(rows, 3)
#define ROW(rows) {tile_##rows##x1, tile_##rows##x2, tile_##rows##x3}
TILES(1) TILES(2) TILES(3) TILES(4)
#if MR == 8
TILES(5) TILES(6) TILES(7) TILES(8)
static tile_function *const tiles[MR][NV] = {ROW(1), ROW(2), ROW(3), ROW(4), ROW(5), ROW(6), ROW(7), ROW(8)};
#else
static tile_function *const tiles[MR][NV] = {ROW(1), ROW(2), ROW(3), ROW(4)};
#endif

/* ---- the block ---- */

/* The block's strips: the vectors of its columns, spread evenly so that no strip is narrow. */
typedef struct strips {
    int64_t vectors, count;
} strips;

static strips strips_of(int64_t n) {
    const int64_t vectors = (n + VL - 1) / VL;
    return (strips){vectors, (vectors + NV - 1) / NV};
}
static int64_t strip_begin(const strips *s, int64_t j) { return s->vectors * j / s->count * VL; }

/* Where strip j, products p0 .. p0+depth-1, comes from. */
static wanted source(const pk_gemm_block *g, const strips *s, int64_t j, int64_t p0, int64_t depth) {
    const int64_t first = strip_begin(s, j), end = strip_begin(s, j + 1), columns = (end < g->n ? end : g->n) - first;
    const int64_t run = g->b_turned ? depth : columns;
    return (wanted){g->b + (g->b_turned ? first * g->ldb + p0 : p0 * g->ldb + first), g->ldb,
                    g->b_turned ? columns : depth, run / LINE + 1, 0};
}

/* All rows of one strip. ask: what comes next, each tile asks for its share. panel: a's rows packed, or null. */
static void multiply_strip(const pk_gemm_block *g, tile_args *t, int64_t first, int64_t width, int64_t p0,
                           const float *panel, const wanted *ask) {
    const division heights = tiles_of(g->m), asks = divide(ask->rows, heights.count);
    const float *next = ask->at;
    t->next = *ask;
    t->next.a_step = (size_of(&asks, 0) * ask->lines * STEP + t->k - 1) / (t->k ? t->k : 1);
    t->last = (int)(g->n - first - (width - 1) * VL < VL ? g->n - first - (width - 1) * VL : VL);
    for (int64_t i = 0, row = 0, rows; i < heights.count; i++, row += rows) {
        rows = size_of(&heights, i);
        t->a = panel ? panel + row * t->k : g->a + row * g->a_row + p0 * g->a_k;
        if (panel) t->a_k = rows;
        t->c = g->c_turned ? g->c + first * g->ldc + row : g->c + row * g->ldc + first;
        t->bias = g->bias && p0 == 0 ? g->bias + (g->c_turned ? row : first) : NULL;
        t->next.at = next;
        t->next.rows = size_of(&asks, i);
        next += t->next.rows * ask->pitch;
        tiles[rows - 1][width - 1](t);
    }
}

static bool wants_panel(const pk_gemm_block *g, const strips *s) {
    return g->a_row == 1 && g->a_k != 1 && g->m > 1 && s->count >= PANEL_STRIPS;
}

/* Products p0 .. p0+depth-1 of everything. */
static void multiply_part(const pk_gemm_block *g, int64_t p0, int64_t depth, bool last_part) {
    const strips s = strips_of(g->n);
    float *strip = g->scratch, *panel = NULL;
    tile_args t = {.k = depth, .a_row = g->a_row, .a_k = g->a_k, .b = strip, .ldc = g->ldc, .turned = g->c_turned,
                   .accumulate = g->accumulate || p0 > 0};
    if (wants_panel(g, &s)) {
        panel = strip + KC * NV * VL;
        pack_panel(depth, g->m, g->a + p0 * g->a_k, g->a_k, panel);
    }
    for (int64_t j = 0; j < s.count; j++) {
        const int64_t first = strip_begin(&s, j), width = strip_begin(&s, j + 1) - first;
        const wanted from = source(g, &s, j, p0, depth);
        wanted ask = {0};
        if (j + 1 < s.count) ask = source(g, &s, j + 1, p0, depth);
        else if (!last_part) ask = source(g, &s, 0, p0 + depth, depth);
        t.fresh = j == 0 && !panel && g->a_k == 1;
        pack_strip(g->b_turned, depth, g->n - first < width ? g->n - first : width, width, from.at, g->ldb, strip);
        multiply_strip(g, &t, first, width / VL, p0, panel, &ask);
    }
}

static void multiply_all(const pk_gemm_block *g) {
    const int64_t deepest = g->c_turned && g->n <= VL ? KC_TURNED : KC, parts = (g->k + deepest - 1) / deepest;
    for (int64_t part = 0; part < parts; part++) {
        const int64_t p0 = g->k * part / parts;
        multiply_part(g, p0, g->k * (part + 1) / parts - p0, part + 1 == parts);
    }
    if (parts == 0) multiply_part(g, 0, 0, true); /* no products: c must be written even so */
}

void PK_NAME(gemm_block)(const pk_gemm_block *g) {
    const strips s = strips_of(g->n);
    const int64_t most = wants_panel(g, &s) ? PANEL : g->m, count = (g->m + most - 1) / most;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = g->m * i / count;
        pk_gemm_block rows = *g;
        rows.m = g->m * (i + 1) / count - row;
        rows.a += row * g->a_row;
        rows.c += g->c_turned ? row : row * g->ldc;
        if (g->bias && g->c_turned) rows.bias += row;
        multiply_all(&rows);
    }
}

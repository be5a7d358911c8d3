/* Matrix products by register tiles of MR rows x up to NV vectors (BLIS's scheme with the left side unpacked: its rows
 * are read where they lie, by broadcasts). b comes packed in panels: strips of one to NV vectors, [k][width] each, the
 * vectors spread evenly over the strips so that none is narrow. Loads per multiply-add: (MR + NV) / (MR * NV).
 *
 * Blocks: KC products deep, so that a strip (KC x NV vectors) stays in L1; MB rows, so that their part of a stays in L2
 * while all strips pass. Turned results are costly to add to, and their right side is small: their blocks are as deep as
 * L2 allows. */
#include "kernels/kernels.h"
#include "kernels/vec.h"

#define NV 3
#define MR (VREGS / 4)
enum { KC = 192, KC_TURNED = 4096, MB = 16 * MR };

/* ---- panels ---- */

typedef struct strips {
    int64_t vectors, count, wide; /* strips 0 .. wide-1 have one vector more than the rest */
    int64_t narrow_width;         /* vectors of the rest */
} strips;

PK_INLINE strips strips_of(int64_t n) {
    strips s;
    s.vectors = (n + VL - 1) / VL;
    s.count = (s.vectors + NV - 1) / NV;
    s.narrow_width = s.count ? s.vectors / s.count : 0;
    s.wide = s.count ? s.vectors % s.count : 0;
    return s;
}
PK_INLINE int64_t strip_first(const strips *s, int64_t i) { return i * s->narrow_width + (i < s->wide ? i : s->wide); }
PK_INLINE int64_t strip_width(const strips *s, int64_t i) { return s->narrow_width + (i < s->wide); }

int64_t PK_NAME(gemm_panel_size)(int64_t k, int64_t n) { return k * strips_of(n).vectors * VL; }

/* A VL x VL block turned: row j of b becomes column j. Zipping the first half of the rows with the second, log2(VL) times,
 * is a transposition. */
PK_INLINE void transpose_block(const float *b, int64_t ldb, float *to, int64_t width) {
    vf row[VL], next[VL];
    for (int j = 0; j < VL; j++) row[j] = v_load(b + j * ldb);
    for (int round = 1; round < VL; round *= 2) {
        for (int j = 0; j < VL / 2; j++) {
            next[2 * j] = v_zip_lo(row[j], row[j + VL / 2]);
            next[2 * j + 1] = v_zip_hi(row[j], row[j + VL / 2]);
        }
        for (int j = 0; j < VL; j++) row[j] = next[j];
    }
    for (int p = 0; p < VL; p++) v_store(to + p * width, row[p]);
}

/* One strip from b stored [n][k]: whole blocks, then what is left at the edges. */
static void pack_transposed(int64_t k, int64_t given, int64_t width, const float *b, int64_t ldb, float *to) {
    for (int64_t p = 0; p < k; p += VL) {
        int64_t depth = k - p < VL ? k - p : VL, j = 0;
        for (; depth == VL && j + VL <= given; j += VL) transpose_block(b + j * ldb + p, ldb, to + p * width + j, width);
        for (; j < given; j++)
            for (int64_t q = p; q < p + depth; q++) to[q * width + j] = b[j * ldb + q];
    }
}

void PK_NAME(gemm_pack)(bool transposed, int64_t k, int64_t n, const float *b, int64_t ldb, float *panel) {
    strips s = strips_of(n);
    for (int64_t i = 0; i < s.count; i++) {
        int64_t first = strip_first(&s, i) * VL, width = strip_width(&s, i) * VL;
        int64_t given = n - first < width ? n - first : width;
        float *to = panel + first * k;
        if (transposed) pack_transposed(k, given, width, b + first * ldb, ldb, to);
        for (int64_t p = 0; p < k; p++, to += width) {
            if (!transposed) memcpy(to, b + p * ldb + first, (size_t)given * sizeof *to);
            for (int64_t j = given; j < width; j++) to[j] = 0;
        }
    }
}

/* ---- the register tile ---- */

typedef struct tile_args {
    int64_t k, a_row, a_k, ldc;
    const float *a, *b, *bias; /* bias: of the tile's first column (turned: row), or null */
    float *c;
    bool accumulate, turned;
    int last; /* lanes of the last vector that exist in c */
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

/* rows and vectors are constants where this is inlined: everything in acc stays in registers. */
PK_INLINE void tile(const tile_args *t, const int rows, const int vectors) {
    vf acc[MR][NV];
    for (int v = 0; v < vectors; v++) {
        int lanes = v + 1 < vectors ? VL : t->last;
        vf start = t->bias && !t->turned ? v_load_n(t->bias + v * VL, lanes) : v_zero();
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            bool add = t->accumulate && !t->turned;
            acc[i][v] = add ? v_add(start, v_load_n(t->c + i * t->ldc + v * VL, lanes)) : start;
        }
    }
    const float *a = t->a, *b = t->b;
    const int64_t a_row = t->a_row;
    for (int64_t p = 0; p < t->k; p++, a += t->a_k, b += vectors * VL) {
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
    float held[MR * NV * VL];
#pragma GCC unroll 3
    for (int v = 0; v < vectors; v++) {
        int lanes = t->turned || v + 1 < vectors ? VL : t->last;
        float *to = t->turned ? held + v * VL : t->c + v * VL;
        int64_t row = t->turned ? NV * VL : t->ldc;
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) v_store_n(to + i * row, acc[i][v], lanes);
    }
    if (t->turned) write_turned(t, held, rows, (vectors - 1) * VL + t->last);
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

/* ---- the blocks ---- */

/* Rows i0 .. i1-1, all columns, products p0 .. p0+depth-1. */
static void block(int64_t i0, int64_t i1, int64_t n, int64_t k, int64_t p0, int64_t depth, const strips *s, tile_args *t,
                  const float *a, const float *panel, const float *bias, float *c) {
    t->k = depth;
    for (int64_t j = 0; j < s->count; j++) {
        int64_t first = strip_first(s, j) * VL, width = strip_width(s, j);
        t->b = panel + first * k + p0 * width * VL;
        t->last = (int)(n - first - (width - 1) * VL < VL ? n - first - (width - 1) * VL : VL);
        for (int64_t i = i0; i < i1; i += MR) {
            int64_t rows = i1 - i < MR ? i1 - i : MR;
            t->a = a + i * t->a_row + p0 * t->a_k;
            t->c = t->turned ? c + first * t->ldc + i : c + i * t->ldc + first;
            t->bias = bias && p0 == 0 ? bias + (t->turned ? i : first) : NULL;
            tiles[rows - 1][width - 1](t);
        }
    }
}

void PK_NAME(gemm_packed)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, int64_t a_k, const float *panel,
                          const float *bias, bool accumulate, bool turned, float *c, int64_t ldc) {
    strips s = strips_of(n);
    tile_args t = {.a_row = a_row, .a_k = a_k, .ldc = ldc, .turned = turned};
    int64_t p0 = 0, deepest = turned ? KC_TURNED : KC;
    do { /* once even for k = 0: c must be written */
        int64_t depth = k - p0 < deepest ? k - p0 : deepest;
        t.accumulate = accumulate || p0 > 0;
        for (int64_t i = 0; i < m; i += MB) block(i, i + MB < m ? i + MB : m, n, k, p0, depth, &s, &t, a, panel, bias, c);
        p0 += depth;
    } while (p0 < k);
}

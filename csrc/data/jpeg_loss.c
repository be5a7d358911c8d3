/* The lossy steps of JPEG (ITU-T T.81), in the order and with the roundings of libjpeg. */
#include "data/jpeg_loss.h"

#include <math.h>

#include "core/checked.h"

enum { N = 8, MCU = 16 };

/* Annex K.1: luminance, chrominance. */
static const uint8_t base_table[2][N * N] = {
    {16, 11, 10, 16, 24, 40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,  14, 13, 16, 24, 40,  57,
     69, 56, 14, 17, 22, 29,  51,  87,  80, 62, 18, 22, 37,  56,  68,  109, 103, 77, 24, 35, 55,  64,
     81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99},
    {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99,
     99, 99, 47, 66, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
     99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99},
};

static float clamp(float v) { return fminf(fmaxf(rintf(v), 0.0f), 255.0f); }

/* ---- blocks ---- */

static void make_table(int kind, int quality, float table[N * N]) {
    int scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    for (int i = 0; i < N * N; i++) {
        int v = (base_table[kind][i] * scale + 50) / 100;
        table[i] = (float)(v < 1 ? 1 : v > 255 ? 255 : v);
    }
}

/* basis[u][x] of the orthonormal transform. */
static void make_basis(float basis[N][N]) {
    for (int u = 0; u < N; u++)
        for (int x = 0; x < N; x++)
            basis[u][x] = (float)((u ? 0.5 : sqrt(0.125)) * cos((2 * x + 1) * u * acos(-1.0) / 16));
}

/* out = a in a' (forward) or a' in a (back). */
static void transform(const float basis[N][N], int back, const float in[N][N], float out[N][N]) {
    float half[N][N];
    for (int u = 0; u < N; u++)
        for (int x = 0; x < N; x++) {
            float sum = 0;
            for (int y = 0; y < N; y++) sum += (back ? basis[y][u] : basis[u][y]) * in[y][x];
            half[u][x] = sum;
        }
    for (int u = 0; u < N; u++)
        for (int v = 0; v < N; v++) {
            float sum = 0;
            for (int x = 0; x < N; x++) sum += half[u][x] * (back ? basis[x][v] : basis[v][x]);
            out[u][v] = sum;
        }
}

/* All blocks of a plane {h,w}, both multiples of 8. */
static void quantize(float *plane, int64_t h, int64_t w, const float table[N * N]) {
    float basis[N][N], block[N][N], f[N][N];
    make_basis(basis);
    for (int64_t top = 0; top < h; top += N)
        for (int64_t left = 0; left < w; left += N) {
            float *at = plane + top * w + left;
            for (int y = 0; y < N; y++)
                for (int x = 0; x < N; x++) block[y][x] = at[y * w + x] - 128.0f;
            transform(basis, 0, block, f);
            for (int i = 0; i < N * N; i++) f[i / N][i % N] = roundf(f[i / N][i % N] / table[i]) * table[i];
            transform(basis, 1, f, block);
            for (int y = 0; y < N; y++)
                for (int x = 0; x < N; x++) at[y * w + x] = clamp(block[y][x] + 128.0f);
        }
}

/* ---- planes ---- */

/* One component of the picture, {ph,pw}, its last row and column repeated. weight: of the channels; plus offset. */
static void take_plane(const float *in, int64_t h, int64_t w, int64_t c, const float weight[3], float offset,
                       float *plane, int64_t ph, int64_t pw) {
    for (int64_t y = 0; y < ph; y++)
        for (int64_t x = 0; x < pw; x++) {
            const float *p = in + (pk_min(y, h - 1) * w + pk_min(x, w - 1)) * c;
            float v = c == 1 ? p[0] : weight[0] * p[0] + weight[1] * p[1] + weight[2] * p[2] + offset;
            plane[y * pw + x] = clamp(v);
        }
}

/* In place to half the size: means of four, halves rounded up and down in turn. */
static void halve(float *plane, int64_t ph, int64_t pw) {
    for (int64_t y = 0; y < ph / 2; y++)
        for (int64_t x = 0; x < pw / 2; x++) {
            const float *p = plane + 2 * y * pw + 2 * x;
            plane[y * (pw / 2) + x] = floorf((p[0] + p[1] + p[pw] + p[pw + 1] + (x % 2 ? 2.0f : 1.0f)) / 4);
        }
}

/* The value at (y, x) of the whole picture, from the half plane of hh x hw values: 9, 3, 3 and 1 of 16. */
static float interpolate(const float *half, int64_t hh, int64_t hw, int64_t pitch, int64_t y, int64_t x) {
    int64_t near_y = y / 2, near_x = x / 2;
    int64_t far_y = pk_max(0, pk_min(hh - 1, near_y + (y % 2 ? 1 : -1)));
    int64_t far_x = pk_max(0, pk_min(hw - 1, near_x + (x % 2 ? 1 : -1)));
    float near = 3 * half[near_y * pitch + near_x] + half[far_y * pitch + near_x];
    float far = 3 * half[near_y * pitch + far_x] + half[far_y * pitch + far_x];
    return floorf((3 * near + far + (x % 2 ? 7.0f : 8.0f)) / 16);
}

int64_t pk_jpeg_loss_scratch(int64_t h, int64_t w, int64_t c) {
    return pk_round_up(h, MCU) * pk_round_up(w, MCU) * (c == 1 ? 1 : 3);
}

void pk_jpeg_loss(const float *in, float *out, int64_t h, int64_t w, int64_t c, int quality, float *scratch) {
    static const float weight[3][3] = {
        {0.299f, 0.587f, 0.114f}, {-0.168735892f, -0.331264108f, 0.5f}, {0.5f, -0.418687589f, -0.081312411f}};
    int64_t ph = pk_round_up(h, MCU), pw = pk_round_up(w, MCU), plane = ph * pw;
    float table[2][N * N];
    for (int i = 0; i < 2; i++) make_table(i, quality, table[i]);
    for (int64_t k = 0; k < (c == 1 ? 1 : 3); k++) {
        float *at = scratch + k * plane;
        take_plane(in, h, w, c, weight[k], k ? 128.0f : 0.0f, at, ph, pw);
        if (k) halve(at, ph, pw);
        quantize(at, k ? ph / 2 : ph, k ? pw / 2 : pw, table[k > 0]);
    }
    int64_t hh = (h + 1) / 2, hw = (w + 1) / 2;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            float *to = out + (y * w + x) * c, luma = scratch[y * pw + x];
            to[0] = luma;
            if (c == 1) continue;
            float cb = interpolate(scratch + plane, hh, hw, pw / 2, y, x) - 128;
            float cr = interpolate(scratch + 2 * plane, hh, hw, pw / 2, y, x) - 128;
            to[0] = clamp(luma + rintf(1.402f * cr));
            to[1] = clamp(luma + rintf(-0.344136286f * cb - 0.714136286f * cr));
            to[2] = clamp(luma + rintf(1.772f * cb));
        }
}

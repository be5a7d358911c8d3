/* The MLP of a block in row tiles: norm, first linear, GELU, second linear, layer scale and residual while a tile is in
 * the second cache. What op_mlp.c describes; mlp.c runs it forward, mlp_grad.c back. */
#ifndef PK_OPS_MLP_H
#define PK_OPS_MLP_H

#include "ops/drop.h"
#include "ops/pixels.h"

typedef enum pk_mlp_norm { PK_MLP_NONE, PK_MLP_LAYER } pk_mlp_norm;

typedef enum pk_recompute { PK_RECOMPUTE_AUTO, PK_RECOMPUTE_ALWAYS, PK_RECOMPUTE_NEVER } pk_recompute;
#define PK_RECOMPUTES "auto|always|never"

/* y = shortcut + keep * gamma * (gelu(norm(x) w1' + b1) w2' + b2). Every pointer but x.at, w1 and w2 may be null. */
typedef struct pk_mlp {
    pk_pixels x, shortcut;
    int64_t rows, in, hidden, out; /* pixels; channels */
    const float *w1, *b1;          /* {hidden,in}, {hidden} */
    const float *w2, *b2;          /* {out,hidden}, {out} */
    pk_mlp_norm norm;
    double eps;
    const float *norm_weight, *norm_bias, *gamma;
    const pk_drop_params *drop;    /* null: every sample is kept */
    int64_t sample;                /* pixels of a sample */
    float *mean, *rstd;            /* {rows} each: written by forward, read by backward */
    float *before;                 /* {rows,hidden}: what goes into the GELU; null: backward computes it again */
    float *last;                   /* {rows,out}: what the second layer gave, for gamma's gradient; null: not kept */
} pk_mlp;

/* y {rows,out} packed. */
pk_status pk_mlp_forward(const pk_mlp *m, float *y);

/* Does backward want `last` for the gradient of gamma? By the sizes alone. */
static inline bool pk_mlp_keeps_last(int64_t rows, int64_t hidden) { return rows < hidden; }

/* Where gradients go; each may be null. */
typedef struct pk_mlp_grads {
    float *x, *w1, *b1, *w2, *b2, *norm_weight, *norm_bias, *gamma;
} pk_mlp_grads;

/* For dy {rows,out} packed. The shortcut's gradient is dy. */
pk_status pk_mlp_backward(const pk_mlp *m, const float *dy, const pk_mlp_grads *to);

/* ---- shared by both ways ---- */

/* Hidden channels are cut in `chunks` of whole strips of the product's kernel; chunk i begins at pk_mlp_hidden. */
int64_t pk_mlp_chunks(const pk_mlp *m);
int64_t pk_mlp_hidden(const pk_mlp *m, int64_t chunk);
int64_t pk_mlp_widest(const pk_mlp *m); /* channels of the widest chunk */

/* Pixels begin..end-1 have the same factor: the end of the run that begins at `begin`, and its factor. */
int64_t pk_mlp_kept(const pk_mlp *m, int64_t begin, int64_t end, float *factor);

/* What goes into the first linear layer: x itself, or (then written to `to`) the normalised pixels. */
pk_pixels pk_mlp_normed(const pk_mlp *m, int64_t begin, int64_t end, float *to, float *mean, float *rstd);

#endif

/* Lanczos on the covariance X'X without forming it: two products by X a step. */
#include "viz/principal.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/rng.h"

enum { STEPS = 40, RESTARTS = 100, SWEEPS = 30 };

typedef struct problem {
    int64_t n, d;
    double *x;     /* {n,d}, centred */
    double *basis; /* {STEPS,d} */
    double *image; /* {d}: X'X v */
    double *v;     /* {d}: the best so far */
    double *score; /* {n}: X v */
} problem;

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void add(double *to, double factor, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += factor * from[i];
}

/* Length before; a vector of zeros stays one. */
static double normalize(double *v, int64_t n) {
    double length = sqrt(dot(v, v, n));
    for (int64_t i = 0; length > 0 && i < n; i++) v[i] /= length;
    return length;
}

static void score(const problem *p, const double *v) {
    for (int64_t i = 0; i < p->n; i++) p->score[i] = dot(p->x + i * p->d, v, p->d);
}

static void multiply(const problem *p, const double *v) {
    score(p, v);
    memset(p->image, 0, (size_t)p->d * sizeof *p->image);
    for (int64_t i = 0; i < p->n; i++) add(p->image, p->score[i], p->x + i * p->d, p->d);
}

/* The eigenvector of the largest eigenvalue of the symmetric t {m,m}, by Jacobi's rotations; t is used up. */
static double small_eigen(double t[STEPS][STEPS], int m, double out[STEPS]) {
    double u[STEPS][STEPS] = {{0}};
    for (int i = 0; i < m; i++) u[i][i] = 1;
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int i = 0; i < m; i++)
            for (int j = i + 1; j < m; j++) {
                if (t[i][j] == 0) continue;
                double theta = (t[j][j] - t[i][i]) / (2 * t[i][j]);
                double tangent = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                double c = 1 / sqrt(tangent * tangent + 1), s = tangent * c;
                for (int k = 0; k < m; k++) {
                    double a = t[k][i], b = t[k][j];
                    t[k][i] = c * a - s * b;
                    t[k][j] = s * a + c * b;
                }
                for (int k = 0; k < m; k++) {
                    double a = t[i][k], b = t[j][k];
                    t[i][k] = c * a - s * b;
                    t[j][k] = s * a + c * b;
                    a = u[k][i], b = u[k][j];
                    u[k][i] = c * a - s * b;
                    u[k][j] = s * a + c * b;
                }
            }
    int best = 0;
    for (int i = 1; i < m; i++)
        if (t[i][i] > t[best][best]) best = i;
    for (int k = 0; k < m; k++) out[k] = u[k][best];
    return t[best][best];
}

/* Up to STEPS steps from p->v, which becomes the best vector of what they span. The eigenvalue; *rest: what is missing
 * from an eigenvector. */
static double lanczos(problem *p, double *rest) {
    double t[STEPS][STEPS] = {{0}}, s[STEPS], beta = 0;
    int m = 0;
    memcpy(p->basis, p->v, (size_t)p->d * sizeof *p->v);
    while (m < STEPS) {
        double *now = p->basis + m * p->d;
        multiply(p, now);
        t[m][m] = dot(p->image, now, p->d);
        for (int twice = 0; twice < 2; twice++)
            for (int i = 0; i <= m; i++)
                add(p->image, -dot(p->image, p->basis + i * p->d, p->d), p->basis + i * p->d, p->d);
        beta = normalize(p->image, p->d);
        m++;
        if (!(beta > 1e-13 * fabs(t[0][0]))) break;
        if (m == STEPS) break;
        t[m][m - 1] = t[m - 1][m] = beta;
        memcpy(p->basis + m * p->d, p->image, (size_t)p->d * sizeof *p->image);
    }
    double value = small_eigen(t, m, s);
    memset(p->v, 0, (size_t)p->d * sizeof *p->v);
    for (int i = 0; i < m; i++) add(p->v, s[i], p->basis + i * p->d, p->d);
    normalize(p->v, p->d);
    *rest = fabs(beta * s[m - 1]);
    return value;
}

/* x centred; the sum of squares. */
static double centre(problem *p, const pk_tensor *x) {
    for (int64_t i = 0; i < p->n; i++)
        for (int64_t j = 0; j < p->d; j++)
            p->x[i * p->d + j] =
                (double)((const float *)x->storage->data)[x->offset + i * x->stride[0] + j * x->stride[1]];
    memset(p->v, 0, (size_t)p->d * sizeof *p->v);
    for (int64_t i = 0; i < p->n; i++) add(p->v, 1.0 / (double)p->n, p->x + i * p->d, p->d);
    for (int64_t i = 0; i < p->n; i++) add(p->x + i * p->d, -1, p->v, p->d);
    return dot(p->x, p->x, p->n * p->d);
}

/* p->v; the eigenvalue. A start of random signs is orthogonal to no component. */
static double solve(problem *p) {
    memset(p->v, 0, (size_t)p->d * sizeof *p->v);
    for (int64_t i = 0; i < p->n; i++)
        add(p->v, (double)pk_random_normal(1, (uint64_t)i), p->x + i * p->d, p->d);
    normalize(p->v, p->d);
    double value = 0, rest = 1;
    for (int i = 0; i < RESTARTS && rest > 1e-11 * value; i++) value = lanczos(p, &rest);
    return value;
}

static void orient(problem *p) {
    int64_t far = 0;
    score(p, p->v);
    for (int64_t i = 1; i < p->n; i++)
        if (fabs(p->score[i]) > fabs(p->score[far])) far = i;
    for (int64_t j = 0; p->score[far] < 0 && j < p->d; j++) p->v[j] = -p->v[j];
}

static pk_status check(const pk_tensor *x) {
    PK_RETURN_IF(x->ndim != 2 || x->dtype != PK_FLOAT32 || pk_numel(x) == 0, PK_EINVAL,
                 "principal component: wants float32 {N,D}, got %s %s", pk_dtype_name(x->dtype), pk_shape_text(x));
    return PK_OK;
}

static pk_status allocate(problem *p, const pk_tensor *x) {
    int64_t cells, doubles;
    p->n = x->shape[0];
    p->d = x->shape[1];
    PK_RETURN_IF(!pk_mul_ok(p->n, p->d, &cells) || !pk_add_ok(cells, p->n + (STEPS + 2) * p->d, &doubles) ||
                     doubles > INT64_MAX / 8,
                 PK_EINVAL, "principal component: %s is too large", pk_shape_text(x));
    p->x = pk_alloc(doubles * (int64_t)sizeof(double));
    if (!p->x) return pk_no_memory(doubles * (int64_t)sizeof(double));
    p->basis = p->x + cells;
    p->image = p->basis + STEPS * p->d;
    p->v = p->image + p->d;
    p->score = p->v + p->d;
    return PK_OK;
}

pk_status pk_first_component(const pk_tensor *x, pk_tensor **component, double *explained) {
    problem p;
    *component = NULL;
    *explained = 0;
    PK_TRY(check(x));
    PK_TRY(allocate(&p, x));
    double all = centre(&p, x);
    pk_status status = PK_OK;
    if (!isfinite(all)) status = pk_fail(PK_EINVAL, "principal component: the values are not all finite");
    if (status == PK_OK) status = pk_tensor_zeros(PK_FLOAT32, 1, &p.d, component);
    if (status == PK_OK && all > 0) {
        *explained = fmin(1, solve(&p) / all);
        orient(&p);
        for (int64_t j = 0; j < p.d; j++) pk_f32(*component)[j] = (float)p.v[j];
    }
    pk_free(p.x);
    return status;
}

/* Sharing grids: see grid.h. */
#include "ops/grid.h"

pk_status pk_grid(int64_t k, int64_t radius, int64_t base, pk_grid_rule rule, pk_ints *out) {
    PK_RETURN_IF(k < 1 || k % 2 == 0, PK_EINVAL, "grid: kernel is %lld, wanted an odd number", (long long)k);
    PK_RETURN_IF(k > PK_MAX_KERNEL, PK_EINVAL, "grid: kernel is %lld, wanted at most %d", (long long)k, PK_MAX_KERNEL);
    PK_RETURN_IF(radius < 0 || radius > (k - 1) / 2, PK_EINVAL,
                 "grid: radius is %lld, wanted 0 to %lld for a kernel of %lld", (long long)radius,
                 (long long)(k - 1) / 2, (long long)k);
    PK_RETURN_IF(base < 1, PK_EINVAL, "grid: base is %lld, wanted 1 or more", (long long)base);
    int32_t ring[PK_MAX_LIST];
    int rings = 0;
    int64_t left = (k - 1) / 2 - radius;
    for (int64_t width = base; left > 0; width = width > left ? width : width * base) {
        PK_RETURN_IF(rings >= PK_MAX_LIST / 2 || 2 * (radius + rings) + 1 > PK_MAX_LIST, PK_EINVAL,
                     "grid: a kernel of %lld with radius %lld and base %lld has more than %d bands", (long long)k,
                     (long long)radius, (long long)base, PK_MAX_LIST);
        ring[rings++] = (int32_t)(width < left ? width : left);
        left -= ring[rings - 1];
    }
    if (rule == PK_MERGE && rings > 1 && ring[rings - 1] < ring[rings - 2]) {
        ring[rings - 2] += ring[rings - 1];
        rings--;
    }
    int64_t n = 2 * (radius + rings) + 1;
    PK_RETURN_IF(n > PK_MAX_LIST, PK_EINVAL,
                 "grid: a kernel of %lld with radius %lld has %lld bands, at most %d are possible", (long long)k,
                 (long long)radius, (long long)n, PK_MAX_LIST);
    out->n = (int32_t)n;
    for (int64_t i = 0; i < n; i++) {
        int64_t from_edge = i < n - 1 - i ? i : n - 1 - i; /* 0: outermost */
        out->v[i] = from_edge < rings ? ring[rings - 1 - from_edge] : 1;
    }
    return PK_OK;
}

int64_t pk_grid_total(const pk_ints *grid) {
    int64_t total = 0;
    for (int32_t i = 0; i < grid->n; i++) total += grid->v[i];
    return total;
}

static pk_status explicit_grid(const char *owner, const pk_grid_params *g, pk_ints *out) {
    int64_t total = pk_grid_total(&g->grid);
    for (int32_t i = 0; i < g->grid.n; i++)
        PK_RETURN_IF(g->grid.v[i] < 1, PK_EINVAL, "%s: grid[%d] is %d, wanted 1 or more", owner, i + 1, g->grid.v[i]);
    PK_RETURN_IF(total % 2 == 0, PK_EINVAL, "%s: grid sums to %lld, wanted an odd number", owner, (long long)total);
    PK_RETURN_IF(g->kernel && g->kernel != total, PK_EINVAL, "%s: grid sums to %lld, but kernel is %lld", owner,
                 (long long)total, (long long)g->kernel);
    *out = g->grid;
    return PK_OK;
}

pk_status pk_grid_of(const char *owner, const pk_grid_params *g, int64_t side, pk_ints *out) {
    if (g->grid.n) {
        PK_TRY(explicit_grid(owner, g, out));
    } else if (g->kernel) {
        pk_status status = pk_grid(g->kernel, g->radius, g->base, (pk_grid_rule)g->rule, out);
        if (status != PK_OK) return pk_fail_prefix(status, "%s: ", owner);
    } else { /* as many single taps as there are weights */
        PK_RETURN_IF(side < 1 || side % 2 == 0 || side > PK_MAX_LIST, PK_EINVAL,
                     "%s: neither kernel nor grid given, and weights of side %lld are no dense kernel of odd side",
                     owner, (long long)side);
        out->n = (int32_t)side;
        for (int32_t i = 0; i < out->n; i++) out->v[i] = 1;
    }
    if (side && out->n != side)
        return pk_fail(PK_EINVAL, "%s: a kernel of %lld has %d bands a side, but w has %lld", owner,
                       (long long)pk_grid_total(out), out->n, (long long)side);
    return PK_OK;
}

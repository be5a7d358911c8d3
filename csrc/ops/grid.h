/* Sharing grids: the partition of a kernel's side into bands of one weight each (PeLK, section 4.1). */
#ifndef PK_OPS_GRID_H
#define PK_OPS_GRID_H

#include <math.h>
#include <stddef.h>

#include "core/schema.h"

/* What to do with an outermost ring that is cut short: keep it as it is, or add it to the ring inside it when it is
 * narrower than that one. */
typedef enum pk_grid_rule { PK_TRUNCATE, PK_MERGE } pk_grid_rule;
#define PK_GRID_RULES "truncate|merge"

#define PK_MAX_KERNEL 8191 /* the largest side */

/* The symmetric partition of k (odd): width 1 up to `radius` from the centre, then base, base^2, ... outward, the last
 * ring what remains. base 1: all ones. 51, 2, 2 gives 9 8 4 2 1 1 1 1 1 2 4 8 9. */
pk_status pk_grid(int64_t k, int64_t radius, int64_t base, pk_grid_rule rule, pk_ints *out);

/* The parameters that peripheral ops and layers share: an explicit grid, or a kernel with radius, base and rule. */
typedef struct pk_grid_params {
    int64_t kernel, radius, base;
    int rule;
    pk_ints grid;
} pk_grid_params;

/* Their schema rows, for a params struct with a member `member` of that type. */
#define PK_GRID_FIELDS(owner, member)                                                                                  \
    {"kernel", PK_INT, offsetof(owner, member.kernel), 0, 0, PK_MAX_KERNEL, NULL, false,                               \
     "side of the kernel, odd; 0: the grid's sum, or w's side"},                                                       \
    {"radius", PK_INT, offsetof(owner, member.radius), 2, 0, 4095, NULL, false,                                        \
     "the fine centre reaches this far: (2 radius + 1) taps a side"},                                                  \
    {"base", PK_INT, offsetof(owner, member.base), 2, 1, 64, NULL, false,                                              \
     "rings outside the centre are base, base^2, ... wide; 1: a dense kernel"},                                        \
    {"rule", PK_ENUM, offsetof(owner, member.rule), 0, 0, 0, PK_GRID_RULES, false,                                     \
     "an outermost ring cut short is kept, or merged into the one inside it when narrower"},                           \
    {"grid", PK_INTS, offsetof(owner, member.grid), NAN, 1, PK_MAX_KERNEL, NULL, false,                                \
     "explicit band widths instead, of odd total; they need not be symmetric"}

/* The bands these parameters ask for. side: of the weights {side, side, C}, which a kernel of no other description
 * is taken to be; 0 when there are none yet. Messages begin with `owner`. */
pk_status pk_grid_of(const char *owner, const pk_grid_params *g, int64_t side, pk_ints *out);
int64_t pk_grid_total(const pk_ints *grid);

#endif

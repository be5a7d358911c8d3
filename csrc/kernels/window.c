/* Planning a window: which bands an image can reach, in which order they are streamed, which box rows they need.
 * Plain code, once a call of an op; the kernels only read the plan. */
#include "kernels/window.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

#define MAX_EXTENT (1 << 24) /* of maps and kernels: their sums fit an int32 */

static int32_t power_below(int32_t n) { /* largest power of two <= n */
    int32_t p = 1;
    while (p <= n / 2) p *= 2;
    return p;
}

static int32_t size_of(const pk_axis *axis, int32_t b) {
    return axis->size ? axis->size[axis->reversed ? axis->count - 1 - b : b] : 1;
}

static int64_t span_of(const pk_axis *axis) {
    int64_t span = 0;
    if (!axis->size) return (int64_t)(axis->count - 1) * axis->dilation + 1;
    for (int32_t b = 0; b < axis->count; b++) span += axis->size[b];
    return span;
}

pk_axis pk_axis_back(const pk_axis *axis) {
    pk_axis back = *axis;
    back.at = (int32_t)-(axis->at + span_of(axis) - 1);
    back.in = axis->out ? (axis->out - 1) * axis->stride + 1 : 0;
    back.out = axis->in;
    back.stuff = axis->stride;
    back.stride = axis->stuff;
    back.reversed = !axis->reversed;
    return back;
}

static pk_status check_axis(const pk_axis *axis) {
    PK_RETURN_IF(axis->count < 1 || axis->stride < 1 || axis->stuff < 1 || axis->dilation < 1 || axis->in < 0 ||
                     axis->out < 0,
                 PK_EINVAL, "window: not a window (count %d, stride %d, dilation %d)", axis->count, axis->stride,
                 axis->dilation);
    for (int32_t b = 0; axis->size && b < axis->count; b++)
        PK_RETURN_IF(axis->size[b] < 1, PK_EINVAL, "window: band %d has size %d", b + 1, axis->size[b]);
    int64_t seen = (int64_t)axis->out * axis->stride;
    PK_RETURN_IF(span_of(axis) > MAX_EXTENT || axis->in > MAX_EXTENT || seen > MAX_EXTENT || abs(axis->at) > MAX_EXTENT,
                 PK_EINVAL, "window: kernel of %lld taps on a map of %d is too large", (long long)span_of(axis),
                 axis->in);
    return PK_OK;
}

/* Outputs that see something of the band. */
static int64_t outputs_of(const pk_band *band, const pk_axis *axis) {
    int64_t first = pk_max(0, pk_ceil_div(pk_max(0, -(int64_t)band->at - band->size + 1), axis->stride));
    int64_t last = pk_min(axis->out - 1, axis->in - 1 < band->at ? -1 : (axis->in - 1 - band->at) / axis->stride);
    return pk_max(0, last - first + 1);
}

/* The bands that some output can reach. What of a band lies beyond reach reads zero from everywhere, so its size there
 * is free: the next power of two, which costs the least. Returns how many are kept. */
static int32_t keep_bands(const pk_axis *axis, pk_band *kept) {
    int32_t n = 0, at = axis->at;
    int32_t low = -(axis->out - 1) * axis->stride, high = axis->in - 1;
    for (int32_t b = 0; b < axis->count; b++) {
        int32_t size = size_of(axis, b), begin = at, end = at + size; /* taps begin .. end-1 */
        at += axis->size ? size : axis->dilation;
        if (end <= low || begin > high) continue;
        if (begin < low || end > high + 1) {
            int32_t cut = (end < high + 1 ? end : high + 1) - (begin > low ? begin : low);
            int32_t grown = power_below(cut) == cut ? cut : 2 * power_below(cut);
            if (begin < low) begin = (end < high + 1 ? end : high + 1) - grown;
            size = grown;
        }
        kept[n++] = (pk_band){.at = begin, .size = size, .index = axis->reversed ? axis->count - 1 - b : b};
    }
    return n;
}

/* Distinct row sizes, ascending, and the rows of each. */
static void sort_rows(pk_window *p) {
    int32_t done = 0;
    p->heights = 0;
    for (int32_t last = 0; done < p->rows;) {
        int32_t next = INT32_MAX;
        for (int32_t i = 0; i < p->rows; i++)
            if (p->row[i].size > last && p->row[i].size < next) next = p->row[i].size;
        pk_height *h = &p->height[p->heights++];
        *h = (pk_height){.size = next, .first = done, .count = 0};
        for (int32_t i = 0; i < p->rows; i++)
            if (p->row[i].size == next) p->order[done++] = i;
        h->count = done - h->first;
        last = next;
    }
}

/* ---- box rows ----
 * Storing a row costs more than reading one, so only sizes 4, 16, 64 ... are stored, and a column of size 2, 8 or 9
 * adds two or three of those as it reads them. Sizes that take more, or that many columns share, are stored too. */

enum {
    NEAR = 18, /* sums up to this size read single pixels from the row itself, larger ones from a copy with margins */
    SHARED = 4 /* columns times groups of rows that share a size: from then on it is stored */
};

static int32_t parts_of(int32_t size) { /* the sum of its digits to base 4 */
    int32_t n = 0;
    for (; size; size /= 4) n += size % 4;
    return n;
}

static bool is_far(int32_t size) { return size > NEAR && size % 4; }

static int32_t need_box(pk_window *p, int32_t size);

static int32_t unit_box(pk_window *p, int32_t unit, bool far) { return unit == 1 && !far ? 0 : need_box(p, unit); }

/* Write down what a sum of `size` pixels is made of: powers of 4, the large ones first. Returns where. */
static int32_t write_parts(pk_window *p, int32_t size) {
    int32_t top = 1, shift = 0;
    while (top <= (size - 1) / 4) top *= 4; /* a power of 4 is made of four of the next */
    for (int32_t unit = top, left = size; unit >= 1; left %= unit, unit /= 4)
        if (left >= unit) unit_box(p, unit, is_far(size)); /* make it first */
    int32_t first = p->parts;
    for (int32_t unit = top; unit >= 1; unit /= 4)
        for (; size - shift >= unit; shift += unit)
            p->part[p->parts++] = (pk_part){.box = unit_box(p, unit, is_far(size)), .shift = shift};
    return first;
}

/* The stored row of this size, made when there is none. Size 1: a copy of the row. */
static int32_t need_box(pk_window *p, int32_t size) {
    for (int32_t b = 1; b < p->boxes; b++)
        if (p->box[b].size == size) return b;
    int32_t first = p->parts;
    if (size == 1) p->part[p->parts++] = (pk_part){0, 0};
    else first = write_parts(p, size);
    if (!is_far(size) && size % 4 + (size == 4) && p->near_box < size - 1) p->near_box = size - 1;
    p->box[p->boxes] = (pk_box){.size = size, .first = first, .parts = p->parts - first};
    return p->boxes++;
}

static bool is_stored(const pk_window *p, int32_t size) {
    int32_t same = 0, groups = (p->rows + 2) / 3;
    if (parts_of(size) == 1 || parts_of(size) > PK_PARTS || is_far(size)) return true;
    for (int32_t h = 0; h < p->heights; h++)
        if ((p->height[h].count + 2) / 3 < groups) groups = (p->height[h].count + 2) / 3;
    for (int32_t j = 0; j < p->cols; j++) same += p->col[j].size == size;
    return same * groups >= SHARED;
}

static void plan_column(pk_window *p, pk_band *col) {
    if (col->size > p->widest) p->widest = col->size;
    if (col->size > 1 && !is_stored(p, col->size)) {
        col->first = write_parts(p, col->size);
        if (col->size % 4 && p->near_col < col->size - 1) p->near_col = col->size - 1;
    } else {
        int32_t box = col->size == 1 ? 0 : need_box(p, col->size);
        col->first = p->parts;
        p->part[p->parts++] = (pk_part){box, 0};
    }
    col->parts = p->parts - col->first;
}

/* The longest stretch of single taps side by side, [*first, *last) of the columns as they lie. */
static void find_run(const pk_window *p, int32_t *first, int32_t *last) {
    *first = *last = 0;
    for (int32_t begin = 0, j = 0; j < p->cols; j++) {
        if (p->col[j].size != 1 || j == begin || p->col[j - 1].size != 1 || p->col[j].at != p->col[j - 1].at + 1)
            begin = j;
        if (p->col[j].size == 1 && j + 1 - begin > *last - *first) *first = begin, *last = j + 1;
    }
}

static pk_column_kind kind_of(const pk_window *p, const pk_band *col) {
    const pk_part *part = p->part + col->first;
    int32_t by = col->parts > 1 && part[0].box == part[1].box && p->stride_x == 1 ? part[1].shift : 0;
    if (col->parts == 1) return PK_ONE;
    if (col->parts == 2) return by == 1 ? PK_TWO_BY_1 : by == 4 ? PK_TWO_BY_4 : PK_TWO;
    return by == 4 ? PK_THREE_BY_4 : PK_THREE;
}

static void plan_columns(pk_window *p) {
    int32_t first, last;
    p->box[0] = (pk_box){.size = 1};
    p->boxes = 1;
    p->widest = 1;
    find_run(p, &first, &last);
    for (int32_t j = 0; j < p->cols; j++) {
        plan_column(p, &p->col[j]);
        p->col[j].kind = j >= first && j < last && p->stride_x == 1 ? PK_RUN : (int32_t)kind_of(p, &p->col[j]);
        for (int32_t k = p->col[j].kind + 1; k <= PK_KINDS; k++) p->group[k]++;
    }
    for (int32_t j = 1; j < p->cols; j++) /* sort by kind; equals stay in order */
        for (int32_t i = j; i > 0 && p->col[i - 1].kind > p->col[i].kind; i--) {
            pk_band other = p->col[i];
            p->col[i] = p->col[i - 1];
            p->col[i - 1] = other;
        }
}

static bool single_taps(const pk_band *band, int32_t count) {
    for (int32_t b = 0; b < count; b++)
        if (band[b].size != 1) return false;
    return true;
}

static void count_products(pk_window *p, const pk_axis *rows, const pk_axis *cols) {
    int64_t down = 0, across = 0;
    for (int32_t i = 0; i < p->rows; i++) down += outputs_of(&p->row[i], rows);
    for (int32_t j = 0; j < p->cols; j++) across += outputs_of(&p->col[j], cols);
    p->products = (double)down * (double)across;
}

pk_status pk_window_new(const pk_axis *rows, const pk_axis *cols, pk_window **out) {
    PK_TRY(check_axis(rows));
    PK_TRY(check_axis(cols));
    int64_t nr = rows->count, nc = cols->count, nboxes = nc + 16, nparts = 4 * 16; /* powers of 4, and a size each */
    for (int64_t j = 0; j < nc; j++) nparts += PK_PARTS + parts_of(size_of(cols, (int32_t)j));
    int64_t bytes = (int64_t)sizeof(pk_window) + (nr + nc) * (int64_t)sizeof(pk_band) +
                    nr * (int64_t)sizeof(pk_height) + nr * (int64_t)sizeof(int32_t) + nboxes * (int64_t)sizeof(pk_box) +
                    nparts * (int64_t)sizeof(pk_part);
    pk_window *p = pk_alloc_zeroed(bytes);
    if (!p) return pk_no_memory(bytes);
    p->row = (pk_band *)(p + 1);
    p->col = p->row + nr;
    p->height = (pk_height *)(p->col + nc);
    p->box = (pk_box *)(p->height + nr);
    p->part = (pk_part *)(p->box + nboxes);
    p->order = (int32_t *)(p->part + nparts);
    p->rows = keep_bands(rows, p->row);
    p->cols = keep_bands(cols, p->col);
    p->weight_cols = cols->count;
    p->in_h = rows->in, p->in_w = cols->in, p->out_h = rows->out, p->out_w = cols->out;
    p->stride_y = rows->stride, p->stride_x = cols->stride, p->stuff_y = rows->stuff, p->stuff_x = cols->stuff;
    sort_rows(p);
    plan_columns(p);
    count_products(p, rows, cols);
    p->few = single_taps(p->row, p->rows) && single_taps(p->col, p->cols) && p->rows <= PK_WINDOW_TAPS && p->cols <= PK_WINDOW_TAPS;
    *out = p;
    return PK_OK;
}

/* Connected parts by flooding, on a map with a border of background all round. */
#include "viz/boxes.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "core/pool.h"

typedef struct box {
    int64_t x0, y0, x1, y1;
} box;

/* Scratch of one flooding: all {h+2,w+2}. */
typedef struct field {
    int64_t h, w, pitch;
    uint8_t *mask;  /* 1 where the map is above the level */
    int32_t *label; /* 0: not yet seen */
    int32_t *stack;
    box *box; /* of label i + 1 */
    int32_t boxes;
} field;

static int64_t cells(const field *f) { return (f->h + 2) * f->pitch; }

static pk_status check(const pk_tensor *map) {
    PK_RETURN_IF(map->ndim != 2 || map->dtype != PK_UINT8 || pk_numel(map) == 0, PK_EINVAL,
                 "boxes: wants a uint8 map {H,W}, got %s %s", pk_dtype_name(map->dtype), pk_shape_text(map));
    PK_RETURN_IF(map->shape[0] > 4096 || map->shape[1] > 4096, PK_EINVAL, "boxes: a side is at most 4096, got %s",
                 pk_shape_text(map));
    return PK_OK;
}

static void free_field(field *f) { pk_free(f->mask); }

static pk_status new_field(field *f, int64_t h, int64_t w) {
    *f = (field){.h = h, .w = w, .pitch = w + 2};
    int64_t n = cells(f), a = pk_round_up(n, 64), bytes = a + 2 * pk_round_up(4 * n, 64) + n * (int64_t)sizeof(box);
    f->mask = pk_alloc(bytes);
    if (!f->mask) return pk_no_memory(bytes);
    f->label = (int32_t *)(void *)(f->mask + a);
    f->stack = f->label + pk_round_up(4 * n, 64) / 4;
    f->box = (box *)(void *)(f->stack + pk_round_up(4 * n, 64) / 4);
    return PK_OK;
}

static void fill_mask(field *f, const pk_tensor *map, int level) {
    memset(f->mask, 0, (size_t)cells(f));
    for (int64_t y = 0; y < f->h; y++)
        for (int64_t x = 0; x < f->w; x++)
            f->mask[(y + 1) * f->pitch + x + 1] =
                ((const uint8_t *)map->storage->data)[map->offset + y * map->stride[0] + x * map->stride[1]] > level;
}

/* Give the part of equal mask around `start` the next label; diagonals connect what is set. Steps over the left or
 * right edge lead from the border to the border, which is one part anyway. */
static void flood(field *f, int64_t start) {
    const int64_t step[8] = {-1, 1, -f->pitch, f->pitch, -f->pitch - 1, -f->pitch + 1, f->pitch - 1, f->pitch + 1};
    uint8_t kind = f->mask[start];
    int64_t n = cells(f), x = start % f->pitch - 1, y = start / f->pitch - 1;
    int32_t top = 0, label = ++f->boxes;
    box b = {x, y, x, y};
    f->label[start] = label;
    f->stack[top++] = (int32_t)start;
    while (top > 0) {
        int64_t at = f->stack[--top];
        x = at % f->pitch - 1;
        y = at / f->pitch - 1;
        b = (box){pk_min(b.x0, x), pk_min(b.y0, y), pk_max(b.x1, x), pk_max(b.y1, y)};
        for (int i = 0; i < (kind ? 8 : 4); i++) {
            int64_t next = at + step[i];
            if (next < 0 || next >= n || f->label[next] || f->mask[next] != kind) continue;
            f->label[next] = label;
            f->stack[top++] = (int32_t)next;
        }
    }
    f->box[label - 1] = b;
}

/* Label all parts of that kind from the top; the boxes start anew. */
static void label_parts(field *f, uint8_t kind) {
    f->boxes = 0;
    memset(f->label, 0, (size_t)cells(f) * sizeof *f->label);
    for (int64_t i = 0; i < cells(f); i++)
        if (f->mask[i] == kind && !f->label[i]) flood(f, i);
}

/* Set what the background outside does not reach: holes, and what lies in them. */
static void fill_holes(field *f) {
    f->boxes = 0;
    memset(f->label, 0, (size_t)cells(f) * sizeof *f->label);
    flood(f, 0);
    for (int64_t i = 0; i < cells(f); i++) f->mask[i] = f->label[i] == 0;
}

/* Twice the area inside the outline through the pixel centres of each part (as a contour's area is): a full square of
 * four pixels counts 2, three of them 1. Areas replace the stack. */
static int32_t largest_part(field *f) {
    memset(f->stack, 0, (size_t)f->boxes * sizeof *f->stack);
    for (int64_t y = 1; y <= f->h; y++)
        for (int64_t x = 1; x <= f->w; x++) {
            int64_t i = y * f->pitch + x;
            const int64_t at[4] = {i, i + 1, i + f->pitch, i + f->pitch + 1};
            int32_t set = 0, label = 0;
            for (int k = 0; k < 4; k++) {
                set += f->mask[at[k]];
                if (f->mask[at[k]]) label = f->label[at[k]];
            }
            if (set >= 3) f->stack[label - 1] += set - 2;
        }
    int32_t best = 0;
    for (int32_t i = 1; i < f->boxes; i++)
        if (f->stack[i] > f->stack[best]) best = i;
    return best;
}

/* f->box[0 .. f->boxes-1] for the mask in f. */
static void find_largest(field *f) {
    fill_holes(f);
    label_parts(f, 1);
    if (f->boxes == 0) return;
    f->box[0] = f->box[largest_part(f)];
    f->boxes = 1;
}

/* The outline of a hole runs through the pixels around it. The first part of the background is what lies outside. */
static void find_all(field *f) {
    label_parts(f, 1);
    int32_t parts = f->boxes;
    for (int64_t i = 0; i < cells(f); i++)
        if (f->mask[i] == 0 && !f->label[i]) {
            flood(f, i);
            box *b = &f->box[f->boxes - 1];
            *b = (box){b->x0 - 1, b->y0 - 1, b->x1 + 1, b->y1 + 1};
        }
    f->boxes--;
    memmove(f->box + parts, f->box + parts + 1, (size_t)(f->boxes - parts) * sizeof *f->box);
}

pk_status pk_boxes(const pk_tensor *map, int level, bool largest, pk_tensor **out) {
    field f;
    *out = NULL;
    PK_TRY(check(map));
    PK_TRY(new_field(&f, map->shape[0], map->shape[1]));
    fill_mask(&f, map, level);
    if (largest)
        find_largest(&f);
    else
        find_all(&f);
    pk_status status = pk_tensor_new(PK_INT32, 2, (int64_t[]){f.boxes, 4}, out);
    for (int32_t i = 0; status == PK_OK && i < f.boxes; i++) {
        const int64_t v[4] = {f.box[i].x0, f.box[i].y0, f.box[i].x1, f.box[i].y1};
        for (int k = 0; k < 4; k++) pk_i32(*out)[4 * i + k] = (int32_t)v[k];
    }
    free_field(&f);
    return status;
}

/* ---- against known boxes ---- */

static int64_t area(const box *b) { return pk_max(0, b->x1 - b->x0 + 1) * pk_max(0, b->y1 - b->y0 + 1); }

static double overlap(const box *a, const box *b) {
    box both = {pk_max(a->x0, b->x0), pk_max(a->y0, b->y0), pk_min(a->x1, b->x1), pk_min(a->y1, b->y1)};
    int64_t common = area(&both), all = area(a) + area(b) - common;
    return all > 0 ? (double)common / (double)all : 0;
}

typedef struct curve {
    const pk_tensor *map;
    const int32_t *known;
    int64_t count;
    bool largest;
    field *field; /* one a worker */
    float *iou;
} curve;

static void run_level(void *context, int64_t level, int worker) {
    const curve *c = context;
    field *f = &c->field[worker];
    fill_mask(f, c->map, (int)level);
    if (c->largest)
        find_largest(f);
    else
        find_all(f);
    if (f->boxes == 0) {
        f->box[0] = (box){0, 0, 0, 0};
        f->boxes = 1;
    } else {
        for (int32_t i = 0; i < f->boxes; i++) {
            f->box[i].x1 = pk_min(f->box[i].x1 + 1, f->w - 1);
            f->box[i].y1 = pk_min(f->box[i].y1 + 1, f->h - 1);
        }
    }
    double best = 0;
    for (int32_t i = 0; i < f->boxes; i++)
        for (int64_t j = 0; j < c->count; j++) {
            const int32_t *v = c->known + 4 * j;
            double iou = overlap(&f->box[i], &(box){v[0], v[1], v[2], v[3]});
            if (iou > best) best = iou;
        }
    c->iou[level] = (float)best;
}

pk_status pk_box_curve(const pk_tensor *map, const pk_tensor *known, bool largest, pk_tensor **out) {
    *out = NULL;
    PK_TRY(check(map));
    bool fine = known->dtype == PK_INT32 && known->ndim == 2 && known->shape[1] == 4 && pk_is_contiguous(known);
    PK_RETURN_IF(!fine, PK_EINVAL, "boxes: wants the known ones as int32 {n,4}, got %s %s", pk_dtype_name(known->dtype),
                 pk_shape_text(known));
    int workers = pk_threads(), made = 0;
    field *fields = pk_alloc_zeroed(workers * (int64_t)sizeof *fields);
    if (!fields) return pk_no_memory(workers * (int64_t)sizeof *fields);
    pk_status status = pk_tensor_new(PK_FLOAT32, 1, (int64_t[]){PK_LEVELS}, out);
    while (status == PK_OK && made < workers) status = new_field(&fields[made++], map->shape[0], map->shape[1]);
    if (status == PK_OK) {
        curve c = {map, pk_i32(known), known->shape[0], largest, fields, pk_f32(*out)};
        pk_parallel(PK_LEVELS, run_level, &c);
    } else {
        pk_tensor_release(*out);
        *out = NULL;
    }
    while (made > 0) free_field(&fields[--made]);
    pk_free(fields);
    return status;
}

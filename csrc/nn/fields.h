/* Short forms for the field lists of module classes. */
#ifndef PK_NN_FIELDS_H
#define PK_NN_FIELDS_H

#include <math.h>
#include <stddef.h>

#include "core/schema.h"

/* F_INT(struct, member, default, min, max, doc): the field's name is the member's. */
#define F_INT(s, m, d, lo, hi, doc) {#m, PK_INT, offsetof(s, m), d, lo, hi, NULL, false, doc}
#define F_NEED(s, m, lo, hi, doc) {#m, PK_INT, offsetof(s, m), 0, lo, hi, NULL, true, doc}
#define F_FLOAT(s, m, d, lo, hi, doc) {#m, PK_FLOAT, offsetof(s, m), d, lo, hi, NULL, false, doc}
#define F_BOOL(s, m, d, doc) {#m, PK_BOOL, offsetof(s, m), d, 0, 0, NULL, false, doc}
#define F_ENUM(s, m, d, words, doc) {#m, PK_ENUM, offsetof(s, m), d, 0, 0, words, false, doc}
#define F_PAIR(s, m, d, lo, hi, doc) {#m, PK_PAIR, offsetof(s, m), d, lo, hi, NULL, false, doc}
#define F_PADDING(s, m, d, doc) {#m, PK_PADDING, offsetof(s, m), d, 0, 1 << 20, NULL, false, doc}
#define F_DIM(s, m, d, doc) {#m, PK_DIM, offsetof(s, m), d, 0, 0, NULL, false, doc}
#define F_INTS(s, m, d, lo, hi, doc) {#m, PK_INTS, offsetof(s, m), d, lo, hi, NULL, false, doc}
#define F_FLOATS(s, m, d, lo, hi, doc) {#m, PK_FLOATS, offsetof(s, m), d, lo, hi, NULL, false, doc}
#define F_ENUMS(s, m, d, words, doc) {#m, PK_ENUMS, offsetof(s, m), d, 0, 0, words, false, doc}
#define F_GRIDS(s, m, doc) {#m, PK_GRIDS, offsetof(s, m), 0, 1, 1 << 20, NULL, false, doc}

#define F_COUNT(fields) (int)(sizeof(fields) / sizeof *(fields))
enum { F_CHANNELS = 1 << 20 }; /* most channels a layer may have */

#endif

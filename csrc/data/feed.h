/* Batches of one epoch, in order, made ahead by threads of their own: decoding and transforms run while the network
 * trains. Which thread makes which picture is open; what a picture is does not depend on it. The threads take no
 * signals. In the child of a fork a feed of the parent gives an error, and can be freed. */
#ifndef PK_DATA_FEED_H
#define PK_DATA_FEED_H

#include "data/pictures.h"

enum { PK_MAX_WORKERS = 64, PK_MAX_PREFETCH = 64 };

typedef struct pk_feed_options {
    pk_recipe recipe;      /* inferred; what it points to is retained */
    const pk_tensor *y;    /* labels or targets, a row each; or null */
    const pk_tensor *rows; /* int32 {n}: which rows, from 1, in order */
    int64_t batch;         /* rows of one; the last may be smaller */
    int64_t first;         /* batches to leave out at the beginning */
    bool drop_last;        /* a smaller last batch */
    bool skip_broken;      /* pictures that cannot be read are left out; else they end the feed */
    int workers;           /* threads; 0: a batch is made when it is asked for, by the library's pool */
    int prefetch;          /* batches in work beyond the one that is next; with workers */
} pk_feed_options;

typedef struct pk_feed pk_feed;

typedef enum pk_feed_state { PK_FEED_END, PK_FEED_BATCH, PK_FEED_WAIT } pk_feed_state;

typedef struct pk_broken {
    int64_t row;   /* from 1 */
    char *message; /* null: there was no memory for it */
} pk_broken;

typedef struct pk_feed_batch {
    pk_feed_state state;
    pk_tensor *x, *y; /* new references; y null without labels */
    int64_t number;   /* of the batch in the epoch, from 1 */
} pk_feed_batch;

/* PK_EINVAL when rows or labels do not fit. */
pk_status pk_feed_new(const pk_feed_options *o, pk_feed **out);
/* The next batch, waiting for it at most `seconds` (then state is PK_FEED_WAIT). A picture that cannot be read is
 * PK_EFORMAT or PK_EIO, and the feed is at its end; PK_ENOMEM can be tried again. */
pk_status pk_feed_next(pk_feed *f, double seconds, pk_feed_batch *out);
/* What was left out since the feed began, in order of the batches. */
int64_t pk_feed_broken(const pk_feed *f, const pk_broken **list);
/* Ends the threads and waits for what they are at. Null is fine. */
void pk_feed_free(pk_feed *f);

/* Rows of y (from 1) as they are, any dtype. */
pk_status pk_rows_take(const pk_tensor *y, const int32_t *row, int64_t count, pk_tensor **out);

#endif

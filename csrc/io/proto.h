/* Protocol buffers, the writing half: fields appended to bytes that grow. Enough for ONNX files. */
#ifndef PK_IO_PROTO_H
#define PK_IO_PROTO_H

#include "core/status.h"

/* All zero: empty. Appending after a failure does nothing; `failed` is looked at once, in the end. */
typedef struct pk_proto {
    uint8_t *at;
    int64_t size, room;
    bool failed; /* there was no memory */
} pk_proto;

void pk_proto_free(pk_proto *p);
void pk_proto_raw(pk_proto *p, const void *bytes, int64_t n);      /* as they are */
void pk_proto_int(pk_proto *p, int field, int64_t value);          /* int32, int64, enum, bool */
void pk_proto_float(pk_proto *p, int field, float value);
void pk_proto_bytes(pk_proto *p, int field, const void *bytes, int64_t n);
void pk_proto_text(pk_proto *p, int field, const char *text);
void pk_proto_message(pk_proto *p, int field, const pk_proto *inner); /* a failure of inner is p's too */
/* What stands before n bytes that are written elsewhere: tag and length. */
void pk_proto_header(pk_proto *p, int field, int64_t n);

#endif

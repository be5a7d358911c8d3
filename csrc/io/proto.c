/* Protocol buffers: see proto.h. A field is a tag (8 * number + wire type) and a value: 0 varint, 2 bytes, 5 fixed32. */
#include "io/proto.h"

#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"

void pk_proto_free(pk_proto *p) {
    pk_free(p->at);
    memset(p, 0, sizeof *p);
}

void pk_proto_raw(pk_proto *p, const void *bytes, int64_t n) {
    if (p->failed || n <= 0) return;
    if (n > p->room - p->size) {
        int64_t room = pk_max(2 * p->room, p->size + n + 128);
        uint8_t *larger = pk_alloc(room);
        if (!larger) {
            p->failed = true;
            return;
        }
        if (p->size) memcpy(larger, p->at, (size_t)p->size);
        pk_free(p->at);
        p->at = larger;
        p->room = room;
    }
    memcpy(p->at + p->size, bytes, (size_t)n);
    p->size += n;
}

static void varint(pk_proto *p, uint64_t v) {
    uint8_t bytes[10];
    int n = 0;
    do {
        bytes[n++] = (uint8_t)((v & 127) | (v > 127 ? 128 : 0));
        v >>= 7;
    } while (v);
    pk_proto_raw(p, bytes, n);
}

static void tag(pk_proto *p, int field, int wire) { varint(p, (uint64_t)field << 3 | (uint64_t)wire); }

void pk_proto_int(pk_proto *p, int field, int64_t value) {
    tag(p, field, 0);
    varint(p, (uint64_t)value);
}

void pk_proto_float(pk_proto *p, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint8_t bytes[] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), (uint8_t)(bits >> 24)};
    tag(p, field, 5);
    pk_proto_raw(p, bytes, 4);
}

void pk_proto_header(pk_proto *p, int field, int64_t n) {
    tag(p, field, 2);
    varint(p, (uint64_t)n);
}

void pk_proto_bytes(pk_proto *p, int field, const void *bytes, int64_t n) {
    pk_proto_header(p, field, n);
    pk_proto_raw(p, bytes, n);
}

void pk_proto_text(pk_proto *p, int field, const char *text) {
    pk_proto_bytes(p, field, text, (int64_t)strlen(text));
}

void pk_proto_message(pk_proto *p, int field, const pk_proto *inner) {
    p->failed |= inner->failed;
    pk_proto_bytes(p, field, inner->at, inner->size);
}

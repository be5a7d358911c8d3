/* An ONNX graph as a file: ModelProto of onnx.proto, IR version 8, opset 17. Weights are streamed, not gathered. */
#include <string.h>

#include "core/alloc.h"
#include "core/checked.h"
#include "io/file.h"
#include "io/onnx_graph.h"

enum { IR_VERSION = 8, OPSET = 17, FLOAT = 1, INT32 = 6, INT64 = 7 };
/* Field numbers of the messages. */
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_PRODUCER_VERSION = 3, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_CONSTANT = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_TYPE = 4 };
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_DATA = 9 };

static void put_node(const pk_onnx *g, pk_proto *graph, const pk_graph_node *e) {
    pk_proto node = {0};
    for (int i = 0; i < e->nin; i++) pk_proto_text(&node, NODE_INPUT, e->in[i] < 0 ? "" : g->name[e->in[i]]);
    pk_proto_text(&node, NODE_OUTPUT, g->name[e->out]);
    pk_proto_text(&node, NODE_NAME, g->name[e->out]);
    pk_proto_text(&node, NODE_TYPE, e->type);
    pk_proto_raw(&node, e->attributes.at, e->attributes.size);
    node.failed |= e->attributes.failed;
    pk_proto_message(graph, GRAPH_NODE, &node);
    pk_proto_free(&node);
}

/* ValueInfoProto: name 1, type 2 { tensor_type 1 { elem_type 1, shape 2 { dim 1 { value 1, parameter 2 } } } }. */
static void put_port(const pk_onnx *g, pk_proto *graph, int field, const pk_graph_port *p) {
    pk_proto shape = {0}, tensor = {0}, type = {0}, port = {0};
    for (int d = 0; d < p->ndim; d++) {
        pk_proto dim = {0};
        if (p->shape[d] < 0)
            pk_proto_text(&dim, 2, "batch");
        else
            pk_proto_int(&dim, 1, p->shape[d]);
        pk_proto_message(&shape, 1, &dim);
        pk_proto_free(&dim);
    }
    pk_proto_int(&tensor, 1, p->dtype == PK_INT32 ? INT32 : FLOAT);
    pk_proto_message(&tensor, 2, &shape);
    pk_proto_message(&type, 1, &tensor);
    pk_proto_text(&port, 1, g->name[p->value]);
    pk_proto_message(&port, 2, &type);
    pk_proto_message(graph, field, &port);
    pk_proto_free(&shape);
    pk_proto_free(&tensor);
    pk_proto_free(&type);
    pk_proto_free(&port);
}

static int64_t data_bytes(const pk_graph_constant *k) { return k->t ? 4 * pk_numel(k->t) : 8 * (int64_t)k->count; }

/* All of a constant but its data: GraphProto's tag and length, and the TensorProto up to the data. */
static void put_constant_header(const pk_onnx *g, const pk_graph_constant *k, pk_proto *out) {
    pk_proto t = {0};
    if (k->t)
        for (int d = 0; d < k->t->ndim; d++) pk_proto_int(&t, TENSOR_DIM, k->t->shape[d]);
    else
        pk_proto_int(&t, TENSOR_DIM, k->count);
    pk_proto_int(&t, TENSOR_TYPE, k->t ? FLOAT : INT64);
    pk_proto_text(&t, TENSOR_NAME, g->name[k->value]);
    pk_proto_header(&t, TENSOR_DATA, data_bytes(k));
    pk_proto_header(out, GRAPH_CONSTANT, t.size + data_bytes(k));
    pk_proto_raw(out, t.at, t.size);
    out->failed |= t.failed;
    pk_proto_free(&t);
}

/* Files are little-endian, as are the machines this runs on (core refuses others at compile time). */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX files are written from memory as it is: little-endian"
#endif
static pk_status write_data(const pk_graph_constant *k, pk_writer *f) {
    pk_tensor *packed;
    if (!k->t) return pk_writer_write(f, k->integers, data_bytes(k));
    PK_TRY(pk_tensor_contiguous(k->t, &packed));
    pk_status status = pk_writer_write(f, pk_f32(packed), data_bytes(k));
    pk_tensor_release(packed);
    return status;
}

typedef struct parts {
    pk_proto front, nodes, constants, ports, back; /* constants: their headers, one behind the other */
    pk_writer file;
} parts;

static void put_model(pk_onnx *g, const char *graph_name, const pk_graph_port *in, const pk_graph_port *out, parts *p,
                      int64_t *graph_bytes) {
    pk_proto opset = {0};
    for (int64_t i = 0; i < g->nodes; i++) put_node(g, &p->nodes, &g->node[i]);
    pk_proto_text(&p->nodes, GRAPH_NAME, graph_name);
    put_port(g, &p->ports, GRAPH_INPUT, in);
    put_port(g, &p->ports, GRAPH_OUTPUT, out);
    int64_t bytes = p->nodes.size + p->ports.size;
    for (int64_t i = 0; i < g->constants; i++) {
        int64_t before = p->constants.size;
        put_constant_header(g, &g->constant[i], &p->constants);
        bytes += p->constants.size - before + data_bytes(&g->constant[i]);
    }
    *graph_bytes = bytes;
    pk_proto_int(&p->front, MODEL_IR, IR_VERSION);
    pk_proto_text(&p->front, MODEL_PRODUCER, "pelk");
    pk_proto_text(&p->front, MODEL_PRODUCER_VERSION, PELK_VERSION);
    pk_proto_header(&p->front, MODEL_GRAPH, bytes);
    pk_proto_text(&opset, 1, "");
    pk_proto_int(&opset, 2, OPSET);
    pk_proto_message(&p->back, MODEL_OPSET, &opset);
    pk_proto_free(&opset);
}

static pk_status write_constants(const pk_onnx *g, parts *p) {
    pk_proto header = {0};
    pk_status status = PK_OK;
    for (int64_t i = 0; i < g->constants && status == PK_OK; i++) {
        header.size = 0;
        put_constant_header(g, &g->constant[i], &header);
        if (header.failed) status = pk_no_memory(header.room);
        if (status == PK_OK) status = pk_writer_write(&p->file, header.at, header.size);
        if (status == PK_OK) status = write_data(&g->constant[i], &p->file);
    }
    pk_proto_free(&header);
    return status;
}

pk_status pk_onnx_write(pk_onnx *g, const char *graph_name, const pk_graph_port *in, const pk_graph_port *out,
                        const char *path) {
    parts p = {.file = {.fd = -1}};
    int64_t bytes;
    pk_status status = PK_OK;
    put_model(g, graph_name, in, out, &p, &bytes);
    if (p.front.failed || p.nodes.failed || p.constants.failed || p.ports.failed || p.back.failed)
        PK_TRY_DONE(pk_no_memory(p.nodes.room));
    if (bytes > INT32_MAX - 4096)
        PK_TRY_DONE(pk_fail(PK_EINVAL, "export_onnx: the model takes %lld bytes, an ONNX file at most 2 GiB",
                            (long long)bytes));
    PK_TRY_DONE(pk_writer_open(&p.file, path));
    PK_TRY_DONE(pk_writer_write(&p.file, p.front.at, p.front.size));
    PK_TRY_DONE(pk_writer_write(&p.file, p.nodes.at, p.nodes.size));
    PK_TRY_DONE(write_constants(g, &p));
    PK_TRY_DONE(pk_writer_write(&p.file, p.ports.at, p.ports.size));
    PK_TRY_DONE(pk_writer_write(&p.file, p.back.at, p.back.size));
    status = pk_writer_commit(&p.file);
done:
    pk_writer_discard(&p.file);
    pk_proto_free(&p.front);
    pk_proto_free(&p.nodes);
    pk_proto_free(&p.constants);
    pk_proto_free(&p.ports);
    pk_proto_free(&p.back);
    return status;
}

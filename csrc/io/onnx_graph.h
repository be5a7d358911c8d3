/* An ONNX graph in memory: built by the ops' rules (ops/onnx.h) while a forward is traced, written by onnx_write.c. */
#ifndef PK_IO_ONNX_GRAPH_H
#define PK_IO_ONNX_GRAPH_H

#include "io/proto.h"
#include "ops/onnx.h"

/* A tensor of the traced forward. */
typedef struct pk_graph_tensor {
    pk_tensor *t;
    char *name;    /* of a parameter or buffer: its path; or null */
    bool constant; /* it does not depend on the input */
    int value[2];  /* by order; -1: not in the graph so far */
} pk_graph_tensor;

typedef struct pk_graph_node {
    const char *type;
    int in[PK_MAX_IN], nin, out;
    pk_proto attributes;
} pk_graph_node;

typedef struct pk_graph_constant {
    int value;
    pk_tensor *t;            /* float32, any strides; null: integers */
    int64_t *integers;
    int count;               /* of integers */
    const pk_tensor *source; /* t is another view of it, */
    int form;                /* this one */
} pk_graph_constant;

/* Lists that double. */
#define PK_GRAPH_LIST(type, name) \
    type *name;                  \
    int64_t name##s, name##_room

struct pk_onnx {
    pk_status status; /* of the first failure */
    bool any_batch;
    const pk_call *call;    /* the op at work */
    pk_tensor *const *in;
    PK_GRAPH_LIST(pk_graph_tensor, tensor);
    PK_GRAPH_LIST(pk_graph_node, node);
    PK_GRAPH_LIST(pk_graph_constant, constant);
    PK_GRAPH_LIST(char *, name); /* of values */
};

void pk_onnx_free(pk_onnx *g);
/* Make a tensor known: a parameter under its name, the input (constant false) or what an op gave. */
pk_graph_tensor *pk_onnx_know(pk_onnx *g, pk_tensor *t, const char *name, bool constant);
/* The entry of t, or of another tensor that is the same window on the same storage; null: unknown. */
pk_graph_tensor *pk_onnx_find(const pk_onnx *g, const pk_tensor *t);
/* A value of that name, or of one like it when it is taken. */
int pk_onnx_value(pk_onnx *g, const char *name);
/* t in an order: a Transpose or a constant is made where there is none. */
int pk_onnx_bring(pk_onnx *g, pk_tensor *t, pk_order order);
/* Take an op into the graph. */
pk_status pk_onnx_take(pk_onnx *g, const pk_call *c, pk_tensor *const *in);

typedef struct pk_graph_port {
    int value;
    pk_dtype dtype;
    int ndim;
    int64_t shape[PK_MAX_DIMS]; /* in the graph's order; -1: the batch, of any size */
} pk_graph_port;

/* The file: a model of opset 17 with one input and one output. */
pk_status pk_onnx_write(pk_onnx *g, const char *graph_name, const pk_graph_port *in, const pk_graph_port *out,
                        const char *path);

#endif

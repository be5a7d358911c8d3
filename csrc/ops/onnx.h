/* What an op's ONNX rule (pk_op.onnx) can say: nodes, constants, and which value of the graph is which output. The
 * graph itself is io/onnx_graph.c. A failure is remembered: calls after it do nothing, and the export ends with its message.
 *
 * Our images are {N,H,W,C}, those of most ONNX operators {N,C,H,W}. So a value of four dimensions has an order, and may
 * exist in both; a rule takes its inputs in the order it works in and says in which its outputs are. Values of other
 * dimensions have our order only. A value is a small number; -1 stands for an input left out. */
#ifndef PK_OPS_ONNX_H
#define PK_OPS_ONNX_H

#include "ops/op.h"

typedef enum pk_order { PK_OWN_ORDER, PK_CHANNELS_FIRST } pk_order;

/* Input i in that order: a Transpose is added where it does not exist yet. -1 for an absent input. */
int pk_onnx_in(pk_onnx *g, int i, pk_order order);
/* The order input i is in already (our own if it is in both, or a constant). */
pk_order pk_onnx_order(const pk_onnx *g, int i);
/* For ops that work on each element, whatever its place: the order that takes the fewest transposes. */
pk_order pk_onnx_common_order(const pk_onnx *g);
/* Where dimension dim of four is in an order. */
int64_t pk_onnx_axis(int64_t dim, int ndim, pk_order order);

/* Input i, which must be constant, with other dimensions: from[d] is which of its own stands at d, or -1 for size 1. */
int pk_onnx_weight(pk_onnx *g, int i, int ndim, const int *from);
int pk_onnx_vector(pk_onnx *g, int i); /* the same, as it is */
/* Is input i constant, or absent? Else the export fails. For rules that read values. */
bool pk_onnx_is_constant(pk_onnx *g, int i);
/* Constants: copies of the values. name: the parameter it comes from is in[i], or i < 0. */
int pk_onnx_floats(pk_onnx *g, int i, int ndim, const int64_t *shape, const float *values);
int pk_onnx_filled(pk_onnx *g, int64_t n, float value); /* {n}, all the same */
int pk_onnx_scalar(pk_onnx *g, double value);
int pk_onnx_ints(pk_onnx *g, int n, const int64_t *values);

/* A node with one output, which is returned. */
int pk_onnx_node(pk_onnx *g, const char *type, int n, const int *in);
int pk_onnx_node1(pk_onnx *g, const char *type, int a);
int pk_onnx_node2(pk_onnx *g, const char *type, int a, int b);
int pk_onnx_node3(pk_onnx *g, const char *type, int a, int b, int c);
/* Attributes of the last node. */
void pk_onnx_set_int(pk_onnx *g, const char *name, int64_t value);
void pk_onnx_set_float(pk_onnx *g, const char *name, double value);
void pk_onnx_set_text(pk_onnx *g, const char *name, const char *value);
void pk_onnx_set_ints(pk_onnx *g, const char *name, int n, const int64_t *values);

/* Output k of the op is this value, in this order. */
void pk_onnx_out(pk_onnx *g, int k, int value, pk_order order);
/* There is no such thing in ONNX: a message after "<op>: ". */
void pk_onnx_refuse(pk_onnx *g, const char *format, ...) PK_PRINTF(2, 3);
/* A failure of something else, whose message stands. */
void pk_onnx_fail(pk_onnx *g, pk_status status);
/* The first dimension of images may differ from run to run. */
bool pk_onnx_any_batch(const pk_onnx *g);

/* Whole rules: an operator of the same meaning on each element, of one input or two. */
void pk_onnx_map1(pk_onnx *g, const char *type);
void pk_onnx_map2(pk_onnx *g, const char *type);
/* The nodes of gelu, and of a layer norm over the last dimension (our order) with inputs weight and bias. */
int pk_onnx_gelu(pk_onnx *g, int x);
int pk_onnx_layer_norm(pk_onnx *g, const pk_call *c, int x, int weight, int bias, double eps);
/* Conv of input 0, in channels-first order, with a weight value {O,I,kh,kw}, and the bias value or -1; before: zeros
 * above and to the left, the rest follows from the output's shape. Returns the value. */
int pk_onnx_conv(pk_onnx *g, const pk_call *c, int weight, int bias, const int64_t kernel[2], const int64_t stride[2],
                 const int64_t before[2], const int64_t dilation[2], int64_t groups);
/* `length` places of dimension dim of input 0, which is taken in that order. */
int pk_onnx_slice(pk_onnx *g, const pk_call *c, pk_order order, int64_t dim, int64_t start, int64_t length);
/* {top, left, bottom, right} for a window over images, such that the output has its shape. */
void pk_onnx_pads(const pk_call *c, const int64_t reach[2], const int64_t stride[2], const int64_t before[2],
                  int64_t pads[4]);

#endif

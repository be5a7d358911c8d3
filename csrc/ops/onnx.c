/* ONNX rules that several ops share. */
#include "ops/onnx.h"

#include <math.h>

#include "core/checked.h"

void pk_onnx_map1(pk_onnx *g, const char *type) {
    pk_order order = pk_onnx_common_order(g);
    pk_onnx_out(g, 0, pk_onnx_node1(g, type, pk_onnx_in(g, 0, order)), order);
}

void pk_onnx_map2(pk_onnx *g, const char *type) {
    pk_order order = pk_onnx_common_order(g);
    int a = pk_onnx_in(g, 0, order), b = pk_onnx_in(g, 1, order);
    pk_onnx_out(g, 0, pk_onnx_node2(g, type, a, b), order);
}

/* x * (1 + erf(x / sqrt 2)) * 0.5 */
int pk_onnx_gelu(pk_onnx *g, int x) {
    int erf = pk_onnx_node1(g, "Erf", pk_onnx_node2(g, "Div", x, pk_onnx_scalar(g, sqrt(2.0))));
    int twice = pk_onnx_node2(g, "Mul", x, pk_onnx_node2(g, "Add", erf, pk_onnx_scalar(g, 1)));
    return pk_onnx_node2(g, "Mul", twice, pk_onnx_scalar(g, 0.5));
}

int pk_onnx_layer_norm(pk_onnx *g, const pk_call *c, int x, int weight, int bias, double eps) {
    int64_t channels = c->in[0]->shape[c->in[0]->ndim - 1];
    int b = pk_onnx_vector(g, bias), w = c->in[weight] ? pk_onnx_vector(g, weight) : pk_onnx_filled(g, channels, 1);
    int y = pk_onnx_node3(g, "LayerNormalization", x, w, b);
    pk_onnx_set_int(g, "axis", -1);
    pk_onnx_set_float(g, "epsilon", eps);
    return y;
}

int pk_onnx_slice(pk_onnx *g, const pk_call *c, pk_order order, int64_t dim, int64_t start, int64_t length) {
    int ndim = c->in[0]->ndim;
    if (dim < 0) dim += ndim;
    int64_t end = start + length, axis = pk_onnx_axis(dim, ndim, order);
    if (dim == 0 && pk_onnx_any_batch(g)) pk_onnx_refuse(g, "cuts the batch, of which the graph takes any size");
    int x = pk_onnx_in(g, 0, order);
    int in[] = {x, pk_onnx_ints(g, 1, &start), pk_onnx_ints(g, 1, &end), pk_onnx_ints(g, 1, &axis)};
    return pk_onnx_node(g, "Slice", 4, in);
}

void pk_onnx_pads(const pk_call *c, const int64_t reach[2], const int64_t stride[2], const int64_t before[2],
                  int64_t pads[4]) {
    for (int a = 0; a < 2; a++) {
        int64_t in = c->in[0]->shape[1 + a], out = c->out[0]->shape[1 + a];
        pads[a] = before[a];
        pads[2 + a] = pk_max(0, (out - 1) * stride[a] + reach[a] - in - before[a]);
    }
}

int pk_onnx_conv(pk_onnx *g, const pk_call *c, int weight, int bias, const int64_t kernel[2], const int64_t stride[2],
                 const int64_t before[2], const int64_t dilation[2], int64_t groups) {
    const int64_t reach[] = {(kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1};
    int64_t pads[4];
    pk_onnx_pads(c, reach, stride, before, pads);
    int y = pk_onnx_node3(g, "Conv", pk_onnx_in(g, 0, PK_CHANNELS_FIRST), weight, bias);
    pk_onnx_set_ints(g, "kernel_shape", 2, kernel);
    pk_onnx_set_ints(g, "strides", 2, stride);
    pk_onnx_set_ints(g, "pads", 4, pads);
    pk_onnx_set_ints(g, "dilations", 2, dilation);
    pk_onnx_set_int(g, "group", groups);
    return y;
}

/* Export of any module tree to ONNX (opset 17): one forward is traced, op by op. */
#ifndef PK_IO_ONNX_H
#define PK_IO_ONNX_H

#include "nn/module.h"
#include "ops/onnx.h"

typedef struct pk_onnx_options {
    bool any_batch; /* the first dimension may be any; else it is x's */
    pk_order order; /* of the graph's input and output, where they have four dimensions */
} pk_onnx_options;

/* Run m in evaluation mode on x (whose values do not matter) and write what it did as a model of one input, "input",
 * and one output, "output". m's modes come back as they were. PK_EINVAL where an op has no form in ONNX: the message names
 * layer and op. */
pk_status pk_onnx_export(pk_module *m, pk_tensor *x, const pk_onnx_options *o, const char *path);

#endif

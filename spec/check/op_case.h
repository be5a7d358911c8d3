/* One case of an op (ops/op.h, `cases`) brought to life: inputs, parameters, the reference's results. */
#ifndef PELK_OP_CASE_H
#define PELK_OP_CASE_H

#include "check.h"
#include "ops/op.h"

typedef struct op_case {
    const pk_op *op;
    const char *text;
    void *params;
    int nin, nout;
    pk_tensor *in[PK_MAX_IN];   /* packed; null where absent */
    double *value[PK_MAX_IN];   /* the same as doubles */
    bool smooth[PK_MAX_IN];     /* gradients flow to it */
    pk_call call;               /* after infer: shapes of the outputs */
    int64_t size[PK_MAX_OUT];
    double *out[PK_MAX_OUT];    /* the reference's results */
    float *cotangent[PK_MAX_OUT]; /* random; null where no gradient flows from the output */
} op_case;

/* False (with a failed check) when the case cannot be read or the op refuses it. */
bool op_case_open(check_options *o, const pk_op *op, const char *text, op_case *c);
void op_case_close(op_case *c);

/* sum over the outputs of cotangent * reference: what gradients are taken of. */
double op_case_loss(op_case *c);
void op_case_refresh(op_case *c); /* out[] from value[] */

/* An application in float32: outputs, and where gradients are wanted those of the inputs. */
typedef struct op_result {
    pk_tensor *out[PK_MAX_OUT], *grad[PK_MAX_IN];
    int nout;
} op_result;

/* Apply the op to in[] (as c->in, maybe other windows); wants[i]: differentiate by input i. Everything made is in r,
 * also on failure. */
pk_status op_run(const op_case *c, pk_tensor *const *in, const bool *wants, op_result *r);
void op_result_free(op_result *r);

#endif

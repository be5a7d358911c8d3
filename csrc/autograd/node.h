/* Nodes, for the files of autograd. */
#ifndef PK_AUTOGRAD_NODE_H
#define PK_AUTOGRAD_NODE_H

#include "autograd/autograd.h"

/* A node with one reference that keeps of the call what its backward reads. origin[i] is the input as the caller gave
 * it, with its place in the graph (c->in[i] may be a packed copy). */
pk_status pk_node_new(const pk_call *c, pk_tensor *const *origin, pk_node **out);
/* Let go of inputs, outputs and saved tensors (backward has used them). */
void pk_node_drop_saved(pk_node *n);

#endif

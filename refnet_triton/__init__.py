"""The Triton half of refnet: every function of `refnet.ops` again, as a GPU kernel.

Three layers, each of which can be read alone:

- `refnet_triton.runtime` knows the machine: GPU or interpreter.
- `refnet_triton.mathematics` holds accurate exp, log, tanh ... as device functions.
- `refnet_triton.pointwise` turns a formula into an operation on whole tensors.

Importing this package imports neither torch nor triton. That matters: Triton decides *while it is
being imported* whether kernels are compiled or interpreted, and `refnet_triton.runtime` has to
choose before that.
"""

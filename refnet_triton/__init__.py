"""The Triton half of refnet: every function of `refnet.ops` again, as a GPU kernel.

Three layers, each of which can be read alone:

- `refnet_triton.runtime` knows the machine: GPU or interpreter.
- `refnet_triton.language` is what kernels are written in: accurate exp, log, tanh ..., and the kernel
  that turns a formula into an operation on whole tensors.
- `refnet_triton.ops` are the twins, file for file.

Importing this package imports neither torch nor triton. That matters: Triton decides *while it is
being imported* whether kernels are compiled or interpreted, and `refnet_triton.runtime.device` has to
choose before that.
"""

"""What kernels are written in: device functions, the shared pointwise kernel, and where elements lie."""

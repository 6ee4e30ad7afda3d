"""Where kernels run: on which GPU, compiled or interpreted; what they touch, and what they find wrong."""

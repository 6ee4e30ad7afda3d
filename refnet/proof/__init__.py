"""How an op is proven: what it is tried on, how wrong it may be, and the verdict on a backend."""

"""The twins: a Triton kernel for every op of `refnet.ops`, in the same file, under the same name."""

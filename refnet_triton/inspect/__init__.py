"""What becomes of a kernel: what a compiler makes of it for any GPU, and which program touches what."""

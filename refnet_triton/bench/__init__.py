"""How fast is each op? Op by op and type by type, against the machine's limits and against PyTorch.

    python -m refnet_triton.gpu --parts goals                     # what there is a goal for
    python -m refnet_triton.gpu --parts bench --ops relu softmax  # all rows of two ops

There is one suite: the `bench` cases of every row of TABLE. A *limit* is what the machine can do
at best, measured in the same run: the bandwidth of a large copy for ops that move bytes, the rate of
the library's 8192-cubed product for ops that count operations (`Op.flops`). From them follows the
shortest possible time, the *floor*, the longer one of

    bytes / bandwidth    and    operations / rate,

and `percent` is the floor over the time that was measured. Bytes are counted once for each array that
has to be read and each that is written; an array that is only asked for its shape is not read, one that
is overwritten is both.

Contenders take turns (A B C A B C ...), each on other inputs than the last time, after a write to a
large buffer that empties the cache and keeps the GPU busy while Python asks for the launches: the
times, between events on the GPU, are the GPU's. Raw samples are kept.

==========  ========================================================================================
inputs      a case's inputs, drawn on the device
timing      events, taking turns, the machine's limits
peers       PyTorch's functions of the same ops
goals       what is to be reached, and by which rows that is judged
suite       the rows, the most important ones first
measure     one row: bytes, operations, samples
host        what Python costs: one call, a training step
tuning      tiles of the product against cuBLAS
results     the file of JSON: where, when and with what it was measured
page        docs/results/README.md: goal beside result
==========  ========================================================================================
"""

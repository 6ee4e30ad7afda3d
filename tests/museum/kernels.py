"""The hall of kernels: Triton code that is fast, compiles, and is wrong somewhere."""

from .piece import Piece

TWIN = "tests/ops/test_twins.py::test_within_the_bound"

PIECES = (
    Piece(
        id="grid-floor-divided",
        title="The block that nobody launches",
        file="refnet_triton/language/pointwise.py",
        right="grid = (triton.cdiv(n, block),)",
        wrong="grid = (n // block,)",
        story="""
            n // BLOCK programs cover n elements if n is a multiple of BLOCK, and benchmarks like
            such n. Otherwise the last, partly filled block is left out, and the result keeps what
            was in memory. attorch had a buffer divided down and a grid divided up: rows of the
            gradient were lost (its issue 18).
        """,
        symptom="The last elements are garbage, or yesterday's right answer.",
        test=f"{TWIN}[relu-triton-float32]",
        complaint="block edge 1025",
        triton=True,
    ),
    Piece(
        id="no-mask-at-the-tail",
        title="No mask at the tail",
        file="refnet_triton/ops/reductions.py",
        right="inside = (start + row < last) & (column < inner)\n"
        "        values = tl.load(x + (start + row) * inner + column, mask=inside, other=START)",
        wrong="inside = (row >= 0) & (column < inner)\n"
        "        values = tl.load(x + (start + row) * inner + column, mask=inside, other=START)",
        story="""
            A tile has a power of two of rows, the data have any number. The mask along the columns
            is there, and the one along the rows is forgotten: the tile reads on into the next
            slice and adds it up. Nothing crashes, as the memory belongs to somebody.
        """,
        symptom="Sums are too large, and others on each run where memory ends.",
        test=f"{TWIN}[sum-triton-float32]",
        complaint="axis",
        triton=True,
    ),
    Piece(
        id="padding-that-wins",
        title="A padding of 0 in a maximum",
        file="refnet_triton/ops/reductions.py",
        right="values = tl.load(x + (start + row) * inner + column, mask=inside, other=START)",
        wrong="values = tl.load(x + (start + row) * inner + column, mask=inside, other=0.0)",
        story="""
            What does a masked load give where the mask is off? Zero is a good neighbour in a sum.
            In a maximum it beats every negative number. Random data nearly always have a positive
            one in each row, so short rows are where it shows.
        """,
        symptom="The largest of (-3, -1, -2) is 0.",
        test=f"{TWIN}[max-triton-float32]",
        complaint="axis",
        triton=True,
    ),
    Piece(
        id="padding-in-the-denominator",
        title="Padding that takes part in softmax",
        file="refnet_triton/ops/softmax.py",
        right='mask=inside, other=float("-inf"))).to(COMPUTE)\n    if g is None:',
        wrong="mask=inside, other=0.0)).to(COMPUTE)\n    if g is None:",
        story="""
            A row of 1025 scores is loaded as 2048. The 1023 that do not exist are scores too,
            unless they are minus infinity, whose exponential is 0. With zeros in their place each
            of them takes its share of the probability.
        """,
        symptom="Probabilities sum to less than 1, except where the row is a power of two long.",
        test=f"{TWIN}[softmax-triton-float32]",
        complaint="block edge 129",
        triton=True,
    ),
    Piece(
        id="online-sum-not-rescaled",
        title="An old sum beside a new maximum",
        file="refnet_triton/ops/softmax.py",
        right="old = total * mathematics.exp(largest - safe)",
        wrong="old = total",
        story="""
            The one-pass softmax keeps a maximum and a sum of exponentials relative to it. When a
            larger score turns up, the sum so far has to be scaled down to the new maximum. Without
            that the terms before and after are measured by different rulers. Rows that fit into
            one block never notice.
        """,
        symptom="Long rows only: the loss of a large vocabulary is a little too high.",
        test="tests/refnet_triton/ops/test_long_rows.py::test_a_row_longer_than_a_block"
        "[sparse_softmax_cross_entropy]",
        complaint="bound",
        triton=True,
        unseen="Interpreted, a block of the loss held 65,536 classes, and no row was longer.",
    ),
    Piece(
        id="strides-ignored",
        title="A transposed matrix read as if it were none",
        file="refnet_triton/ops/softmax.py",
        right="return contiguous(x.movedim(axis, -1))",
        wrong="return x.movedim(axis, -1)",
        story="""
            A kernel computes addresses as row · columns + column. A transposed tensor has the same
            memory with other strides, and its elements are elsewhere. The pointer is valid, so the
            kernel reads a permutation of the data, and the result has the right shape and
            plausible numbers.
        """,
        symptom="Right in unit tests, wrong behind a transpose.",
        test=f"{TWIN}[softmax-triton-float32]",
        complaint="transposed",
        triton=True,
    ),
    Piece(
        id="nan-dropped-by-the-hardware",
        title="tl.max does not see NaN",
        file="refnet_triton/language/mathematics.py",
        right="""
        missing = tl.max((x != x).to(tl.int32), axis=0)
        found = tl.max(tl.where(x != x, float("-inf"), x), axis=0)
        return tl.where(missing > 0, float("nan"), found)""",
        wrong="""
        return tl.max(x, axis=0)""",
        story="""
            The maximum instruction of a GPU returns the other operand when one is NaN. NumPy and
            PyTorch return NaN. A kernel that uses the instruction as it is agrees with them on all
            data but those one would like to be warned of.
        """,
        symptom="max() of a row with a NaN in it is a harmless number.",
        test=f"{TWIN}[max-triton-float32]",
        complaint="NaN",
        triton=True,
    ),
    Piece(
        id="summed-in-half-precision",
        title="A sum that stops at 256",
        file="refnet_triton/language/copies.py",
        right="half = x.dtype in (torch.float16, torch.bfloat16)",
        wrong="half = False",
        story="""
            bfloat16 has 8 bits of precision: 256 + 1 is 256. Adding up a bias gradient over a
            batch in the type it is stored in loses every term once the sum is large enough. Here
            the terms are rounded before they are summed; summing in the half type itself is the
            same mistake, louder.
        """,
        symptom="Training in half precision gets worse as the batch gets larger.",
        test=f"{TWIN}[prelu_vjp-triton-bfloat16]",
        complaint="bound",
        triton=True,
    ),
    Piece(
        id="tf32-by-accident",
        title="Ten bits where 23 were promised",
        file="refnet_triton/ops/matmul.py",
        right='input_precision="ieee"',
        wrong='input_precision="tf32"',
        story="""
            On NVIDIA tl.dot multiplies float32 in tf32 unless told otherwise: 10 bits of mantissa,
            fast, with errors in the fourth digit. On AMD, and in the interpreter, it does not. So
            every test without a GPU passes. People have met it as a bug of Triton (its issue
            5895).
        """,
        symptom="A float32 network that differs from the CPU's in the fourth digit.",
        test="tests/refnet_triton/ops/test_long_rows.py::test_float32_products_are_not_tf32",
        complaint="tf32",
        triton=True,
        unseen="Nothing saw it without a GPU.",
    ),
    Piece(
        id="written-while-read",
        title="A matrix assigned its own transpose",
        file="refnet_triton/language/pointwise.py",
        right="        if plan.meetings "
        "and (apart := self._apart(plan, data, arguments[2])) is not data:\n"
        "            plan, outs, arguments = self._prepare(apart, attributes)\n",
        wrong="",
        story="""
            x[i] = y[i] for all i at once: nothing could be simpler, as long as y is not x in another
            arrangement. A transpose moves no number, so it is a view of the same memory. One
            program then overwrites what another one has yet to read, and which is first is up to
            the scheduler. NumPy reads as if from a copy wherever it finds an overlap.
        """,
        symptom="v.assign(v.T) gives a matrix that is nearly symmetric, another one on each run.",
        test="tests/backend/test_overlap.py::test_a_matrix_is_assigned_its_transpose[triton-5]",
        complaint="Arrays are not equal",
        triton=True,
        unseen="It was no planted mistake: no test had let what is written overlap with what is read.",
    ),
    Piece(
        id="offsets-of-32-bits",
        title="The 2³¹st element",
        file="refnet_triton/ops/losses.py",
        right='"""One row: L = ln Σ e^{x - max} - (x_c - max); NaN, and noted, if c is no class."""\n'
        "    row = tl.program_id(0).to(tl.int64)",
        wrong='"""One row: L = ln Σ e^{x - max} - (x_c - max); NaN, and noted, if c is no class."""\n'
        "    row = tl.program_id(0)",
        story="""
            A program number is a 32-bit integer, and so is its product with the length of a row.
            For 50,257 classes the product passes 2³¹ at row 42,731, a batch of 21 texts of 2048
            words. The address wraps round and points before the tensor. megablocks (185),
            flash-linear-attention (1080) and Liger-Kernel (1248) all had it.
        """,
        symptom="An illegal memory access, for large batches only, hours into the run.",
        test="tests/refnet_triton/ops/test_addresses.py::test_every_element_beyond_32_bits_is_reached"
        "[sparse_softmax_cross_entropy (42732, 50257)]",
        complaint="32 bits",
        triton=True,
        unseen="Nothing saw it: no test had so many elements.",
    ),
    Piece(
        id="strides-of-32-bits",
        title="Only the row number had 64 bits",
        file="refnet_triton/ops/matmul.py",
        right="step = tl.arange(0, K).to(tl.int64)",
        wrong="step = tl.arange(0, K)",
        story="""
            The product of a row number and the length of a row may pass 2³¹. That is known, so row
            numbers have 64 bits. But a tile also steps along k. Where the matrix is laid out in
            very long rows, step times stride passes 2³¹ within the first tile.
        """,
        symptom="(16, 64) @ (64, 2²⁸) reads in front of the matrix.",
        test="tests/refnet_triton/ops/test_addresses.py::test_a_tile_of_very_long_rows",
        complaint="32 bits",
        triton=True,
        unseen="It was no planted mistake: it stood in the kernel until a test asked for every op "
        "on more than 2³¹ elements.",
    ),
    Piece(
        id="a-load-nobody-looks-at",
        title="A load without a mask, of numbers that are dropped",
        file="refnet_triton/ops/softmax.py",
        right="z = widen(tl.load(x + column, mask=inside)).to(COMPUTE) - largest",
        wrong="z = widen(tl.load(x + column)).to(COMPUTE) - largest",
        story="""
            The store has a mask, so what the last lanes compute goes nowhere, and all results are
            right. But they read: beyond the end of the row, and in the last row, of the tensor.
            On a GPU that memory may belong to nobody. No comparison of results can see it; who wants to
            know has to look at the addresses.
        """,
        symptom="An illegal memory access, if the tensor happens to lie at the end of a page.",
        test=f"{TWIN}[softmax-triton-float32]",
        complaint="a lane without a mask",
        triton=True,
        unseen="Nothing saw it: the mutants of masks survived until loads and stores were guarded.",
    ),
    Piece(
        id="mean-divided-twice",
        title="A path that no test reaches",
        file="refnet_triton/ops/reductions.py",
        right="length, inner, parts, part, float(divisor if parts == 1 else 1.0),",
        wrong="length, inner, parts, part, float(divisor),",
        story="""
            A long sum is cut into parts, and a second launch adds up the parts. Only one of the
            two may divide by n. In the interpreter nothing is cut, as programs do not run side by
            side there, so no test on a CPU ever took the way through two launches. Liger-Kernel
            shipped a multi-block path that no test reached, and that did not even compile.
        """,
        symptom="The mean of a million numbers is a million times too small, on a GPU.",
        test="tests/refnet_triton/ops/test_long_rows.py::test_a_long_reduction_takes_two_launches[shape0-None-mean]",
        complaint="mean",
        triton=True,
        unseen="Nothing saw it: no case was long enough to be cut.",
    ),
    Piece(
        id="attribute-as-float32",
        title="0.1 becomes 0.10000000149",
        file="refnet_triton/language/pointwise.py",
        right="        return F(v[0], a)\n",
        wrong="        return F(v[0], tl.full((), a, tl.float32))\n",
        story="""
            To a Triton kernel a Python float is a float32, unless it is a constant known while
            compiling; put into a tuple with data, it becomes one without a word. The slope 0.1 of
            a leaky ReLU then enters a float64 formula with 8 right digits. The interpreter keeps
            Python's float, and only the compiled code gives it away.
        """,
        symptom="float64 results that agree with the CPU to 8 digits.",
        test="tests/refnet_triton/language/test_pointwise.py::test_attributes_are_compiled_in_with_all_their_digits",
        complaint="dense<1.0",
        triton=True,
    ),
    Piece(
        id="shapes-that-do-not-meet",
        title="Four rows, two labels",
        file="refnet_triton/backend.py",
        right="Fitted(op, self._twin(op))",
        wrong="self._twin(op)",
        story="""
            A kernel takes pointers and a number of rows, and the rows of the first tensor are as good
            as any. Where the bias, the labels or the targets are fewer, it reads on into whatever lies
            behind them. NumPy stretches or complains, and a graph says so when it is written; but
            where lengths are open until the run, nobody looks again.
        """,
        symptom="A loss of 10³⁷, now and then.",
        test="tests/op/test_fitting.py::test_what_was_stretched_or_read_beyond_its_end"
        "[linear-inputs0-triton]",
        complaint="DID NOT RAISE",
        triton=True,
    ),
)

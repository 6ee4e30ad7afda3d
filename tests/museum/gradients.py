"""The hall of gradients: the forward pass is right, so nobody looks."""

from .piece import Piece

DIFFERENCES = "tests/op/test_table.py::test_gradient_agrees_with_central_differences"
KINK = "tests/op/test_table.py::test_gradient_at_a_kink_follows_its_rule"

PIECES = (
    Piece(
        id="relu-at-zero",
        title="ReLU at exactly 0",
        file="refnet/ops/activations.py",
        right="return np.where(y > 0, g, 0)",
        wrong="return np.where(y >= 0, g, 0)",
        story="""
            Random numbers are never exactly 0, so no random test asks. Real data are: padding,
            empty pixels, neurons that start with a bias of 0. The Triton library attorch had
            gradients that were wrong exactly at kinks, twice (its issues 15 and 16).
        """,
        symptom="Neurons that are off for an all-zero image get a gradient anyway.",
        test=f"{KINK}[relu-(0.0,)]",
    ),
    Piece(
        id="abs-at-zero",
        title="A slope for |x| at 0",
        file="refnet/ops/elementwise.py",
        right="return g * np.sign(x)",
        wrong="return np.where(x >= 0, g, -g)",
        story="""
            Two branches, so one comparison, and 0 falls to one side of it. Under an L1 penalty
            that matters more than anywhere else. Its whole point is that weights come to rest at
            0, and there this gradient pushes them off again.
        """,
        symptom="Weights under an L1 penalty tremble around 0 and never reach it.",
        test=f"{KINK}[abs-(0.0,)]",
    ),
    Piece(
        id="ties-counted-twice",
        title="Both winners take it all",
        file="refnet/ops/elementwise.py",
        right="half = np.where(a == b, g / 2, np.zeros_like(g))",
        wrong="half = np.where(a == b, g, np.zeros_like(g))",
        story="""
            Where a = b, which of the two is the maximum? If both say yes, the gradient is doubled.
            Ties are rare in random numbers and common in real ones, such as maximum(x, x) in a
            graph where two paths meet, or the zeros behind a ReLU.
        """,
        symptom="Gradients of clipped or shared values are twice too large.",
        test=f"{KINK}[maximum-(1.0, 1.0)]",
    ),
    Piece(
        id="broadcast-not-summed",
        title="The bias that got a gradient a batch long",
        file="refnet/ops/elementwise.py",
        right="return sum_to(g, np.shape(a)), sum_to(g, np.shape(b))",
        wrong="return g, g",
        story="""
            y = a + b: both gradients are g. That is true of numbers, and of arrays of one shape. A
            bias is stretched over the batch, each of its elements is used many times, and the
            gradients of all those uses have to be added up. It is the first bug of every home-made
            autograd.
        """,
        symptom="A shape error far away, or a bias that quietly grows a batch axis.",
        test=f"{DIFFERENCES}[add]",
    ),
    Piece(
        id="activation-forgotten",
        title="The slope of the activation forgotten",
        file="refnet/ops/matmul.py",
        right='dx = dz @ kernel.T if "x" in wrt else None',
        wrong='dx = g @ kernel.T if "x" in wrt else None',
        story="""
            Three products, two names for a gradient: the one before the activation and the one
            behind it. The gradients of weights and bias are right, so the last layer learns, and
            with it a good part of the network. Only what lies below is steered wrongly.
        """,
        symptom="Deep networks learn worse than shallow ones, and everybody blames the depth.",
        test=f"{DIFFERENCES}[linear]",
        complaint="by differences",
    ),
    Piece(
        id="bias-gradient-averaged",
        title="The mean taken twice",
        file="refnet/ops/matmul.py",
        right='dbias = added(as_rows(dz), 0) if "bias" in wrt else None',
        wrong='dbias = as_rows(dz).mean(0) if "bias" in wrt else None',
        story="""
            The loss is a mean over the batch, so its gradient carries 1/n already. Averaging once
            more in the layer looks just as natural, and the shapes agree. Weights learn at the
            full rate, biases at a 32nd of it.
        """,
        symptom="Biases hardly move; larger batches make it worse.",
        test=f"{DIFFERENCES}[linear]",
        complaint="by differences",
    ),
    Piece(
        id="transposed-the-same-way-again",
        title="A permutation in place of its inverse",
        file="refnet/ops/shape.py",
        right="return np.transpose(g, None if axes is None else np.argsort(np.mod(axes, np.ndim(g))))",
        wrong="return np.transpose(g, axes)",
        story="""
            Transposing twice gives back the matrix, so the gradient of transpose is transpose.
            True for two axes, and for every permutation that swaps pairs. From three axes on there
            are permutations, such as (2, 0, 1), whose inverse is another one.
        """,
        symptom="Attention heads and channels mixed up in the backward pass only.",
        test=f"{DIFFERENCES}[transpose]",
    ),
    Piece(
        id="axes-counted-from-the-end",
        title="An axis counted from the end",
        file="refnet/ops/shape.py",
        right="np.argsort(np.mod(axes, np.ndim(g)))",
        wrong="np.argsort(axes)",
        story="""
            transpose(-1, 0) and transpose(1, 0) are one thing, so the result is right. The inverse of
            the order is found by sorting it, and -1 sorts before 0: the gradient stays as it was. Orders
            of which all or none count from the end are inverted well, and those are what tests try.
        """,
        symptom="A square weight that is used transposed as x @ w.transpose(-1, 0) learns the wrong way.",
        test="tests/ops/test_axes.py::test_an_axis_is_the_same_from_either_end[numpy-transpose-(1,0,2)]",
    ),
    Piece(
        id="softmax-diagonal",
        title="Half of the Jacobian of softmax",
        file="refnet/ops/softmax.py",
        right="return y * (g - added(g * y, axis, keepdims=True))",
        wrong="return g * y * (1 - y)",
        story="""
            y (1 - y) is the derivative of the sigmoid, and of each softmax output by its own
            score. But every output depends on every score, through the sum. The widely read
            ML-From-Scratch had this line (its issue 71). The step still goes roughly downhill, so
            accuracy looks fine.
        """,
        symptom="Training works, a little worse than elsewhere.",
        test=f"{DIFFERENCES}[softmax]",
        complaint="by differences",
    ),
    Piece(
        id="first-upstream-for-all",
        title="One upstream gradient for the whole batch",
        file="refnet/ops/losses.py",
        right="return g[..., None] * (probabilities(logits, largest, log_sum) - target)",
        wrong="return np.ravel(g)[0] * (probabilities(logits, largest, log_sum) - target)",
        story="""
            With the loss averaged over the batch, all examples receive the same upstream gradient,
            so reading the first one is enough and saves a load. Then somebody asks for one loss
            for each example and weighs them. Liger-Kernel multiplied by grad_output[0] in that
            case (its issue 968).
        """,
        symptom="sample_weight has no effect except through the first example of each batch.",
        test=f"{DIFFERENCES}[sparse_softmax_cross_entropy]",
        complaint="by differences",
    ),
    Piece(
        id="repeated-positions-lost",
        title="x[i] += g, twice at one place",
        file="refnet/ops/indexing.py",
        right="np.add.at(np.moveaxis(dx, axes, range(len(axes))), _positions(x, indices, axes), terms)",
        wrong="np.moveaxis(dx, axes, range(len(axes)))[_positions(x, indices, axes)] += terms",
        story="""
            NumPy's += with an array of positions reads, adds and writes back, once. A position
            that occurs twice gets the last of its terms and not their sum. In an embedding that is
            every frequent word of a text.
        """,
        symptom="Frequent words learn no faster than rare ones.",
        test="tests/autograd/test_indexing.py::test_repeated_positions_add[numpy]",
    ),
    Piece(
        id="overwritten-not-added",
        title="A value used twice, a gradient used once",
        file="refnet/autograd/backpropagation.py",
        right='found[x.key] = TABLE["add"](found[x.key], dx) if x.key in found else dx',
        wrong="found[x.key] = dx",
        story="""
            The chain rule adds over all paths. As long as networks are chains, each value has one
            path, and storing the gradient is as good as adding it. Then comes the first skip
            connection, or merely x · x.
        """,
        symptom="The gradient of x² is x.",
        test="tests/autograd/test_tensor.py::test_a_value_used_many_times_gathers_all_its_gradients[numpy]",
        complaint="Not equal",
    ),
    Piece(
        id="any-order-backwards",
        title="Passed on before all of it had arrived",
        file="refnet/autograd/tensor.py",
        right="return [found[serial] for serial in sorted(found)]",
        wrong="return list(found.values())[::-1]",
        story="""
            Going back along the graph, a node may pass its gradient on only after all its users
            have reported. Visiting nodes in the order in which one finds them keeps that for
            chains and for most small tests. It fails where a value is used at two depths;
            TensorSlow ends in a KeyError there.
        """,
        symptom="Wrong gradients in networks with short cuts, right ones in all others.",
        test="tests/autograd/test_tensor.py::test_shared_sub_expressions[numpy]",
        complaint="Not equal",
    ),
    Piece(
        id="second-backward",
        title="The second backward() adds to the first",
        file="refnet/autograd/tensor.py",
        right="            leaf.grad = gradient\n",
        wrong="            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient\n",
        story="""
            Gradients of several paths have to be added up, so adding into .grad seems safest. But
            then they also add up over calls, and whoever forgets to reset them trains on the sum
            of all batches so far. PyTorch made it a rule that one learns by heart; in micrograd
            the second backward() is plainly wrong, because values between were not reset either.
        """,
        symptom="The effective learning rate grows with every step, until the loss explodes.",
        test="tests/autograd/test_tensor.py::test_backward_twice_is_right_twice[numpy]",
        complaint="Not equal",
    ),
    Piece(
        id="value-gone",
        title="Overwritten before the gradient read it",
        file="refnet/autograd/backpropagation.py",
        right="    _require_unchanged(node)\n",
        wrong="",
        story="""
            The gradient of v · v needs v as it was when the product was computed. An update in
            place has replaced it, and nothing fails: the formula is applied to the new value. The
            result is neither the old gradient nor the new one. refnet computed it, until it became
            an error.
        """,
        symptom="Wrong gradients if, and only if, the update comes before backward().",
        test="tests/autograd/test_tensor.py::test_a_gradient_of_values_that_are_gone_is_an_error",
        complaint="DID NOT RAISE",
    ),
    Piece(
        id="recursion",
        title="As deep as Python can count",
        file="refnet/autograd/tensor.py",
        right="    while stack:\n        node = stack.pop()\n        if node.serial not in found:\n"
        "            found[node.serial] = node\n"
        "            stack.extend(t.node for t in node.inputs if t.node and t.key not in known)\n",
        wrong="\n    def visit(node: Node) -> None:\n        if node.serial not in found:\n"
        "            found[node.serial] = node\n            for t in node.inputs:\n"
        "                if t.node and t.key not in known:\n                    visit(t.node)\n\n"
        "    for node in stack:\n        visit(node)\n",
        story="""
            A graph is walked most beautifully by a function that calls itself. Python stops it
            after 1000 calls. Networks of 20 layers never notice; a recurrent network over a long
            text does, and so does a sum in a loop. micrograd ends in a RecursionError after a
            chain of 1200 operations.
        """,
        symptom="RecursionError on long sequences, from code that never mentions recursion.",
        test="tests/autograd/test_tensor.py::test_a_chain_of_100_000_ops",
        complaint="RecursionError",
    ),
)

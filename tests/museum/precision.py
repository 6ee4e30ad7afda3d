"""The hall of numbers: formulas that are right on paper and wrong in floating point."""

from .piece import Piece

PIECES = (
    Piece(
        id="softmax-without-its-maximum",
        title="Softmax that overflows",
        file="refnet/ops/softmax.py",
        right="e = np.exp(x - np.max(x, axis, keepdims=True))",
        wrong="e = np.exp(x)",
        story="""
            Every textbook defines softmax as e^x over its sum, and so the first version of every
            library has it. In float32 the exponential of 89 is infinite, and infinity divided by
            infinity is NaN. Subtracting the largest score changes nothing on paper and everything
            in a computer. In TensorSlow, a teaching library, softmax(1000) is NaN.
        """,
        symptom="A network trains for a while; then one score passes 89 and every weight is NaN.",
        test="tests/models/test_models.py::test_scores_of_ten_thousand_stay_finite"
        "[softmax-categorical_crossentropy-y1]",
        complaint="overflow",
    ),
    Piece(
        id="log-of-softmax",
        title="The logarithm of a number that became 0",
        file="refnet/ops/softmax.py",
        right="return z - np.log(added(np.exp(z), axis, keepdims=True))",
        wrong="return np.log(softmax(x, axis))",
        story="""
            log_softmax looks like two functions one already has, one after the other. But the
            probability of an unlikely class is rounded to 0 first, and its logarithm is then minus
            infinity, although the answer is a harmless -1000. Taking the logarithm by hand, on
            paper, gives x - max - ln Σ, where nothing ever gets small.
        """,
        symptom="A loss of infinity for a confident, wrong network; its gradient is NaN.",
        test="tests/ops/test_digits.py::test_unlikely_classes_have_finite_logarithms[numpy]",
        complaint="inf|divide by zero",
        unseen="The NumPy tier saw nothing, as a formula is its own reference there.",
    ),
    Piece(
        id="log-sum-exp-unshifted",
        title="Cross-entropy without the shift",
        file="refnet/ops/losses.py",
        right="    z = x - largest\n",
        wrong="    z = x\n",
        story="""
            The fused cross-entropy exists to avoid e^x of large x, and can be fused without
            avoiding it. With scores near 0, as they are when training starts, both versions give
            the same digits. So the mistake passes every quick test and waits for a network that
            has become confident.
        """,
        symptom="The loss is inf from some epoch on, earlier with a higher learning rate.",
        test="tests/losses/test_losses.py::test_probabilities_of_a_network_are_traced_back_to_scores"
        "[categorical_crossentropy-dense]",
        complaint="overflow",
    ),
    Piece(
        id="maximum-and-logarithm-added-first",
        title="Digits lost before they are needed",
        file="refnet/ops/losses.py",
        right="return log_sum - picked(z, labels), largest, log_sum",
        wrong="return (largest + log_sum) - picked(logits, labels), largest, log_sum",
        story="""
            The log-sum-exp is max + ln Σ, a function in every library, and the loss is that minus
            the score of the right class. With scores of 10,000 the sum has no room left for the
            digits of the logarithm, and the subtraction that follows lays bare what is missing.
            refnet made this very mistake once: with the scores (10000, 9999) the loss was wrong in
            its fourth digit.
        """,
        symptom="Losses of large scores come in steps of 0.001, and small ones are 0.",
        test="tests/op/test_table.py::test_the_reference_is_within_its_own_bound"
        "[sparse_softmax_cross_entropy-float32]",
        complaint="extreme logits",
    ),
    Piece(
        id="exp-minus-one",
        title="eˣ - 1 near 0",
        file="refnet/ops/activations.py",
        right="return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))",
        wrong="return np.where(x >= 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))",
        story="""
            ELU is written eˣ - 1 in its paper. For x = -10⁻⁸ the exponential is 1 in float32, and
            the difference is 0: not one digit is right. The function expm1 exists for nothing but
            this subtraction. Plots look perfect, since the error is tiny in absolute terms.
        """,
        symptom="Small negative inputs give exactly 0; relative errors of ten million ULP.",
        test="tests/op/test_table.py::test_accuracy_against_100_bits[elu-float32]",
        complaint="ULP at x",
    ),
    Piece(
        id="softplus-as-written",
        title="ln(1 + eˣ), typed as it stands",
        file="refnet/ops/activations.py",
        right="    return np.logaddexp(0, x)\n",
        wrong="    return np.log(1 + np.exp(x))\n",
        story="""
            The formula fails on both sides. For large x the exponential overflows although the
            result is just x; for very negative x the 1 swallows it and the result is 0. Libraries
            patch the first half, which shows, and leave the second, which does not.
        """,
        symptom="softplus(-20) is 0, and its logarithm minus infinity.",
        test="tests/op/test_table.py::test_accuracy_against_100_bits[softplus-float32]",
        complaint="ULP at x",
    ),
    Piece(
        id="log-of-one-plus-a-little",
        title="A loss that reaches 0 too early",
        file="refnet/ops/losses.py",
        right="return wrong + np.log1p(np.exp(-np.abs(logits)))",
        wrong="return wrong + np.log(1 + np.exp(-np.abs(logits)))",
        story="""
            Even with the overflow cured, ln(1 + e) is not log1p(e). Below 6·10⁻⁸ the sum is 1 in
            float32 and its logarithm 0, so a score of 17 on the right side counts as a perfect
            answer. The bound of this op allows 4 ULP of the score and saw nothing; the museum did.
        """,
        symptom="The loss of a good classifier drops to exactly 0 and stays there.",
        test="tests/ops/test_digits.py::test_right_answers_have_a_small_loss_and_not_none[numpy]",
        complaint="Mismatch",
        unseen="No test saw it: the bound of the op allows 4 ULP of the score.",
    ),
    Piece(
        id="one-minus-y-squared",
        title="1 - y² where y is nearly 1",
        file="refnet/ops/activations.py",
        right="return g * ((1 - y) * (1 + y))",
        wrong="return g * (1 - y * y)",
        story="""
            The derivative of tanh is 1 - y², in every lecture. Squaring y rounds it, and near 1
            that rounding error is all that is left after the subtraction. (1 - y)(1 + y) is the
            same polynomial with an exact difference in it. It costs one addition.
        """,
        symptom="Saturated neurons learn with a gradient that is half noise.",
        test="tests/op/test_table.py::test_the_reference_is_within_its_own_bound[tanh_vjp-float32]",
        complaint="wide range|points",
    ),
    Piece(
        id="variance-by-two-means",
        title="E[x²] - E[x]²",
        file="refnet/autograd/operators.py",
        right='return TABLE["square"](distance).mean(axis, keepdims)',
        wrong='return TABLE["square"](self).mean(axis, keepdims) '
        '- TABLE["square"](self.mean(axis, keepdims))',
        story="""
            The textbook identity needs one pass over the data in place of two, and so it is found
            in hand-written batch and layer normalisations. Both terms are large and nearly equal
            when the mean is large. In float32, 500 numbers around 10,000 with a spread of 1 have a
            variance of 0, 8 or -8 that way.
        """,
        symptom="A normalisation divides by the root of a negative number: NaN, on some data only.",
        test="tests/ops/test_digits.py::test_the_variance_of_data_far_from_zero[numpy]",
        complaint="Not equal",
    ),
    Piece(
        id="nan-swallowed",
        title="A ReLU that hides NaN",
        file="refnet/ops/activations.py",
        right='Nair and Hinton (2010)."""\n    return np.maximum(x, 0)',
        wrong='Nair and Hinton (2010)."""\n    return np.where(x > 0, x, 0)',
        story="""
            A comparison with NaN is false, so NaN takes the other branch: 0, the one value that
            looks healthy behind a ReLU. The network goes on with dead neurons in place of an
            alarm. Hardware maximum instructions do the same, and so do tl.max and tl.min unless
            told otherwise.
        """,
        symptom="The data held a NaN, and nothing downstream shows it.",
        test="tests/ops/test_digits.py::test_nan_is_never_swallowed[relu]",
        complaint="NaN",
        unseen="The NumPy tier saw nothing, as a formula is its own reference there.",
    ),
    Piece(
        id="silently-float32",
        title="float64 that is not",
        file="refnet/backend/conversion.py",
        right="        and not isinstance(values, (np.ndarray, np.generic))\n",
        wrong="",
        story="""
            A library with a default float type has to decide what happens to arrays that come with
            their own. Converting them all is one condition less and agrees with every test in
            float32. Whoever asked for float64 gets half of it. Keras 3 away from TensorFlow
            computes part of its float64 in float32.
        """,
        symptom="Gradient checks that should agree to 10 digits agree to 4.",
        test="tests/autograd/test_tensor.py::test_dtype_of_a_new_tensor[loopback-values5-None-float64]",
        complaint="float32",
    ),
    Piece(
        id="half-a-byte",
        title="A picture of bytes, times 1/255",
        file="refnet/op/promotion.py",
        right='return "float64" if op.name in COMPARISONS else floatx',
        wrong='return "float64" if op.name in COMPARISONS else there',
        story="""
            A plain number takes the type of the array it meets: 2.0 x is float32 if x is, and that
            is what one wants. A picture is an array of bytes. 1/255 as a byte is 0.
        """,
        symptom="The scaled pictures are black, and a loss of them never changes.",
        test="tests/op/test_promotion.py::test_examples[scaled-numpy]",
        unseen="Tests of types were made of floats, and of integers divided by integers.",
    ),
    Piece(
        id="truncating-assignment",
        title="2.7 assigned, 2 kept",
        file="refnet/base/dtypes.py",
        right='return np.can_cast(source, target, "same_kind")',
        wrong='return np.can_cast(source, target, "unsafe")',
        story="""
            NumPy's slice assignment converts silently, floats to integers too: x[...] = 1.5 stores
            1. A variable made from [1, 2] in place of [1.0, 2.0] is an integer variable, and every
            step of its training rounds towards zero. refnet did this until it was caught.
        """,
        symptom="A weight never moves, whatever the learning rate.",
        test="tests/autograd/test_tensor.py::test_variables_keep_their_type",
        complaint="DID NOT RAISE",
    ),
)

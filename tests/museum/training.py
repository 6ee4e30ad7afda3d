"""The hall of training: it runs, it learns, and it is not what was asked for."""

from .piece import Piece

PIECES = (
    Piece(
        id="adam-uncorrected",
        title="Adam without its bias correction",
        file="refnet/ops/optimizers.py",
        right="step_size = float(learning_rate) / (1 - beta_1**t)",
        wrong="step_size = float(learning_rate)",
        story="""
            Adam's means start at 0 and need many steps to forget it. Dividing by 1 - βᵗ undoes
            that; it has no effect on the direction and none later on, so leaving half of it out
            goes unseen. The first step is ten times too short when m is not corrected, and 30
            times too long when v is not.
        """,
        symptom="A slow start that people cure with a larger learning rate.",
        test="tests/ops/test_known_values.py::test_ten_steps_by_hand[numpy-adam-float64]",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="momentum-uphill",
        title="The velocity with the wrong sign",
        file="refnet/ops/optimizers.py",
        right="    theta += velocity\n",
        wrong="    theta -= velocity\n",
        story="""
            Two conventions are in use: Keras puts the minus into the velocity, PyTorch into the
            step. Half of a formula from here and half from there climbs the hill. It is the most
            visible mistake of this hall, and for that the most harmless.
        """,
        symptom="The loss grows from the first step on.",
        test="tests/ops/test_known_values.py::test_ten_steps_by_hand[numpy-momentum-float64]",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="nesterov-without-the-look-ahead",
        title="Nesterov without looking ahead",
        file="refnet/ops/optimizers.py",
        right="    theta += momentum * velocity - step\n",
        wrong="    theta += velocity\n",
        story="""
            Nesterov's method asks for the slope where momentum is about to lead. Rewritten so that
            the slope is taken here, the only trace of that is one more term in the last line.
            Without it the code is plain momentum under a better name: it converges, and every plot
            looks alike.
        """,
        symptom="nesterov=True changes nothing.",
        test="tests/ops/test_known_values.py::test_ten_steps_by_hand[numpy-nesterov-float64]",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="epsilon-outside",
        title="ε on the wrong side of the root",
        file="refnet/ops/optimizers.py",
        right="theta -= step / np.sqrt(mean_square + epsilon)",
        wrong="theta -= step / (np.sqrt(mean_square) + epsilon)",
        story="""
            Keras' RMSprop has ε under the root, PyTorch's beside it. Copied from one to the other
            the same 10⁻⁷ means something else: under the root it is a floor of 3·10⁻⁴ for the
            divisor. The difference shows where gradients are small, which is where one no longer
            looks.
        """,
        symptom="Results of a paper that cannot be repeated in the other library.",
        test="tests/ops/test_known_values.py::test_ten_steps_by_hand[numpy-rmsprop-float64]",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="memory-for-the-wrong-weights",
        title="Another weight's moments",
        file="refnet/optimizers/parameters.py",
        right="for v, start in zip(self.variables, self.offsets, strict=True)\n        ]",
        wrong="for v, start in zip(self.variables, np.cumsum([0, *(v.size for v in self.variables)]))"
        "\n        ]",
        story="""
            All weights lie in one vector, and the optimizer's memory beside it. Freezing a layer
            takes its weights out, so the others move up, and their memory has to move along. Each
            weight starts at a multiple of 16 numbers. Adding up the lengths to find it forgets the
            gaps between them, and gives each weight the moments of a neighbour.
        """,
        symptom="A jolt in the loss after freezing a layer, gone after some hundred steps.",
        test="tests/models/test_models.py::test_the_memory_of_an_optimizer_follows_the_weights_that_stay",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="t-one-behind",
        title="Steps counted from 0",
        file="refnet/optimizers/optimizer.py",
        right="            t = count.assign_add(1.0)\n",
        wrong="            t = count\n            count.assign_add(1.0)\n",
        story="""
            In a graph, a counter and its increment are two different things, and a reader of the
            counter gets whichever stands first. Here Adam is given the number of steps before this
            one. At the first step 1 - β⁰ is 0, and Adam divides by it.
        """,
        symptom="NaN after one step, in graphs only; the eager loop is right.",
        test="tests/graph/test_graph.py::test_minimize_takes_the_steps_of_apply_gradients[<lambda>4]",
        complaint="ZeroDivisionError|divide by zero",
    ),
    Piece(
        id="dropout-scaled-by-p",
        title="Dropout scaled by the wrong share",
        file="refnet/ops/random.py",
        right=">= rate, x / (1 - rate), np.zeros_like(x))",
        wrong=">= rate, x / rate, np.zeros_like(x))",
        story="""
            Is p the probability to drop or to keep? The paper keeps with p, Keras drops with rate.
            At one half, the value everybody tries first, it makes no difference. At a rate of 0.1
            what is kept is ten times too large.
        """,
        symptom="Training diverges for small rates; 0.5 works best, mysteriously.",
        test="tests/ops/test_random.py::test_dropout_drops_its_share_and_keeps_the_mean[0.1]",
    ),
    Piece(
        id="dropout-mask-of-its-own-gradient",
        title="Another mask on the way back",
        file="refnet/ops/random.py",
        right="return np.where(random_uniform(key, np.shape(g)) >= rate, g / (1 - rate), "
        "np.zeros_like(g))",
        wrong="return np.where(random_uniform(key + 1, np.shape(g)) >= rate, g / (1 - rate), "
        "np.zeros_like(g))",
        story="""
            Storing the mask costs memory, so kernels draw it again in the backward pass. That
            needs the same key, in the same state. A generator that has moved on by one draws a
            mask just as random, and the gradient flows through neurons that had been dropped.
        """,
        symptom="Dropout hurts more than it helps.",
        test="tests/ops/test_random.py::test_dropout_sends_the_gradient_through_the_same_mask[numpy]",
    ),
    Piece(
        id="layers-of-the-first-floor",
        title="A layer within a layer",
        file="refnet/layers/layer.py",
        right="        return vars(self)\n",
        wrong="        return self._weights\n",
        story="""
            A model asks its layers for their weights, and each knows those it made itself. A block
            that is written as a layer and holds three others makes none. It computes what it
            should, so nobody misses them, and the optimizer is never told that they are there.
        """,
        symptom="A block of layers that learns nothing, and a summary that counts 0 parameters.",
        test="tests/layers/test_nested_layers.py::test_what_inner_layers_have_is_the_layers_own[list]",
    ),
    Piece(
        id="weights-taken-away",
        title="Two models, one layer",
        file="refnet/models/trainer.py",
        right="        if self._parameters is not None and not self._parameters.in_place():\n"
        "            self._require_here()\n"
        "            self._parameters.take_back()\n",
        wrong="",
        story="""
            A model's weights are views of one vector, which the optimizer steps along. A second
            model over some of the same layers makes a vector of its own, and the layers' weights
            views of that one. The first model goes on stepping: its vector changes, and no layer
            reads it any more. It takes no more than an encoder that is cut out of an autoencoder
            in a callback.
        """,
        symptom="The loss stands still from the first callback on; alone, the model learns.",
        test="tests/models/test_shared_layers.py::test_a_callback_that_looks_at_the_code_changes_nothing"
        "[numpy]",
    ),
    Piece(
        id="the-same-mask-again",
        title="A generator that never moves on",
        file="refnet/random.py",
        right='following = TABLE["add"](key, [0, 1])',
        wrong='following = TABLE["add"](key, [0, 0])',
        story="""
            A recorded step replays what was recorded, the random numbers too, unless their state
            is part of the record. Captured CUDA graphs had to learn the same. With a frozen mask,
            dropout just trains a smaller network: the same neurons are off at each step.
        """,
        symptom="The training loss is as smooth as without dropout.",
        test="tests/layers/test_layers.py::test_dropout_draws_another_mask_at_each_call",
    ),
    Piece(
        id="two-layers-one-stream",
        title="Two layers that drop the same neurons",
        file="refnet/random.py",
        right="return np.array([(seed ^ (stream * 0x9E3779B9)) & 0xFFFFFFFF, 0])",
        wrong="return np.array([seed, 0])",
        story="""
            One seed for the whole model is good for repeating it, and so each layer is given the
            seed. All of them draw the same numbers then. The stream number is what keeps them
            apart.
        """,
        symptom="Masks in different layers are correlated; nothing else shows.",
        test="tests/layers/test_layers.py::test_dropouts_of_one_model_differ",
    ),
    Piece(
        id="stream-reused",
        title="A stream drawn from twice",
        file="refnet/random.py",
        right="    _stream += 1\n",
        wrong="    _stream = 1\n",
        story="""
            Random numbers that are a pure function of a key are a blessing as long as no key is
            used twice. A counter that is set in place of counted hands out the same key forever.
            All layers of one shape start from the same weights then, and every epoch has the same
            order.
        """,
        symptom="Neurons that ought to differ stay identical for the whole training.",
        test="tests/models/test_models.py::"
        "test_shuffle_takes_each_example_once_in_another_order_each_epoch",
    ),
    Piece(
        id="shuffled-with-replacement",
        title="A shuffle that loses examples",
        file="refnet/random.py",
        right='return np.argsort(ops.random.random_bits(np.asarray(key), (n,)), kind="stable")',
        wrong="return ops.random.random_bits(np.asarray(key), (n,)) % n",
        story="""
            n random numbers below n look like a shuffled order and are none: more than a third of
            the examples is missing, and others come twice. Each epoch misses others, so in the
            long run all are seen. Accuracy suffers a little, and one adds epochs.
        """,
        symptom="An epoch that is not one.",
        test="tests/models/test_models.py::"
        "test_shuffle_takes_each_example_once_in_another_order_each_epoch",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="labels-left-in-place",
        title="Inputs shuffled, labels not",
        file="refnet/training/data.py",
        right="y = self.x[:0] if self.y is None else self.y[rows]",
        wrong="y = self.x[:0] if self.y is None else self.y[start : start + size]",
        story="""
            x, y and the weights are three arrays that have to stay side by side. One forgotten
            index, and each example gets the label of another. The network learns how frequent the
            classes are, which on unbalanced data gives a respectable accuracy.
        """,
        symptom="Accuracy stays at the share of the largest class.",
        test="tests/models/test_models.py::test_it_learns",
    ),
    Piece(
        id="last-batch-dropped",
        title="The examples that did not fill a batch",
        file="refnet/training/data.py",
        right="for start in range(first * size, len(self), size):",
        wrong="for start in range(first * size, len(self) - size + 1, size):",
        story="""
            n // batch_size batches: the rest does not fill one. Graphs recorded for one shape make
            it tempting to leave it out, since a smaller batch has to be recorded anew. Without
            shuffling it is always the same examples that are never seen; in evaluation the score
            is that of a part.
        """,
        symptom="Predictions come back fewer than inputs went in.",
        test="tests/models/test_models.py::test_evaluate_and_predict_do_not_depend_on_batches[7]",
        complaint="rtol|shapes|broadcast|concatenate|Not equal",
    ),
    Piece(
        id="mean-of-means",
        title="A mean of means",
        file="refnet/metrics/metric.py",
        right="        return total * float(each) if each > 1 else total, float(values.size * each)\n",
        wrong="        return total * float(each) if each > 1 else total, 1.0\n",
        story="""
            Each batch reports its mean, and an epoch reports theirs. The last batch is smaller,
            and its examples have to count for no more than the others. Here the sum is weighted
            and its divisor is not; leaving both unweighted is the quieter form of it.
        """,
        symptom="The same model scores differently with another batch_size.",
        test="tests/metrics/test_metrics.py::test_batches_count_by_their_size",
    ),
    Piece(
        id="penalty-forgotten-in-the-step",
        title="A penalty that is reported and not trained",
        file="refnet/training/step.py",
        right="        loss = _loss(model, y, y_pred, weights)\n        outputs = ",
        wrong="        loss = model.loss(y, y_pred, weights if weights.size else None)\n"
        "        outputs = ",
        story="""
            The loss is computed in three places: while training, while evaluating, and in loops
            people write themselves. A new term has to reach all of them. Where it misses the
            training step, evaluate() still charges for large weights, and nothing makes them
            smaller.
        """,
        symptom="A regularizer of any strength has no effect.",
        test="tests/models/test_models.py::test_penalties_add_to_the_loss",
    ),
    Piece(
        id="labels-broadcast-into-a-matrix",
        title="Three labels beside a column of predictions",
        file="refnet/losses/pairing.py",
        right="return (to_y, to_p) if agree(p + (1,) * to_p, y + (1,) * to_y) else None",
        wrong="return (0, 0) if agree(p + (1,) * to_p, y + (1,) * to_y) else None",
        story="""
            A layer of one neuron gives a column, (n, 1); labels come as they are counted, (n,). NumPy
            and PyTorch subtract the two without a word: every label from every prediction, an
            (n, n) matrix. Its mean is a number like any other, and its gradient pulls every
            prediction towards the mean of all labels.
        """,
        symptom="A regression learns the mean of its targets; the loss of a perfect one is not 0.",
        test="tests/losses/test_pairing.py::test_functions[losses-poisson-tensors]",
        unseen="Tests gave targets in the shape of the predictions, as one who knows does.",
    ),
    Piece(
        id="softmax-twice",
        title="Softmax of a softmax",
        file="refnet/losses/probabilistic.py",
        right='        logits = TABLE["log"](_within(y_pred))\n',
        wrong="        logits = y_pred\n",
        story="""
            A cross-entropy that takes scores accepts probabilities as well: both are rows of
            numbers. It then applies softmax once more. Since probabilities lie between 0 and 1,
            the result is never far from uniform, and the loss never near 0. Probably the most
            frequent mistake with cross-entropies, as it still learns.
        """,
        symptom="With ten classes the loss stops at about 1.46, at 100 % accuracy.",
        test="tests/losses/test_losses.py::test_scores_give_what_probabilities_give"
        "[sparse_categorical_crossentropy]",
        complaint="Not equal|not equal",
    ),
    Piece(
        id="sum-called-mean",
        title="A mean over the wrong number",
        file="refnet/ops/reductions.py",
        right="return added(x, axis, keepdims) / reduced_count(x, axis)",
        wrong="return added(x, axis, keepdims) / np.shape(x)[0]",
        story="""
            The mean over a batch of single numbers divides by the length of the batch, and len(x)
            is how one writes that. With a second axis the number of elements is another one. The
            mean is then too large by the number of outputs, and so is the gradient.
        """,
        symptom="The learning rate has to be retuned whenever the number of outputs changes.",
        test="tests/op/test_table.py::test_gradient_agrees_with_central_differences[mean]",
        complaint="by differences",
    ),
    Piece(
        id="argmax-along-the-batch",
        title="The best example in place of the best class",
        file="refnet/metrics/accuracy.py",
        right='TABLE["argmax"](y_true, axis=-1), TABLE["argmax"](y_pred, axis=-1)',
        wrong='TABLE["argmax"](y_true, axis=0), TABLE["argmax"](y_pred, axis=0)',
        story="""
            argmax of a matrix along its first axis asks for each class which example has most of
            it. The result is a vector of whole numbers, as it should be, only of another length. A
            mean over it hides even that.
        """,
        symptom="An accuracy that jumps about and does not go with the loss.",
        test="tests/metrics/test_metrics.py::test_known_values[categorical_accuracy-y_true1-y_pred1-0.5]",
    ),
    Piece(
        id="label-one-too-large",
        title="Labels from 1 to n",
        file="refnet/ops/losses.py",
        right="(labels < 0) | (labels >= classes)",
        wrong="(labels < 0) | (labels > classes)",
        story="""
            Many data sets number their classes from 1. Ten classes then have a label 10, one
            beyond the last row of anything. NumPy would raise an IndexError somewhere; a GPU reads
            what lies there. A check that is off by one lets exactly this case through.
        """,
        symptom="NumPy names an index nobody wrote; a kernel's loss is whatever lies behind the logits.",
        test="tests/ops/test_edges.py::test_labels_that_are_no_class[labels1]",
        complaint="IndexError",
    ),
    Piece(
        id="negative-label",
        title="A label of -1",
        file="refnet/ops/losses.py",
        right="(labels < 0) | (labels >= classes)",
        wrong="labels >= classes",
        story="""
            In NumPy -1 is the last element, so a check of the upper end seems to be enough: an
            index below 0 raises no error. But -1 often means that a label is missing. All
            unlabelled examples then count as the last class.
        """,
        symptom="The last class is predicted far too often.",
        test="tests/ops/test_edges.py::test_labels_that_are_no_class[labels0]",
        complaint="DID NOT RAISE",
    ),
    Piece(
        id="fans-exchanged",
        title="Fan-in and fan-out exchanged",
        file="refnet/initializers.py",
        right="return window * shape[-2], window * shape[-1]",
        wrong="return window * shape[-1], window * shape[-2]",
        story="""
            PyTorch stores a kernel as (out, in), Keras as (in, out). An initializer carried from
            one to the other draws with the wrong spread, unless the layer is square. Glorot's
            spread depends on the sum of both fans and cannot tell; He's can.
        """,
        symptom="Deep networks with narrowing layers start with vanishing signals.",
        test="tests/test_initializers.py::test_fans",
    ),
)

"""The hall of machinery: plans, sessions, files. The mathematics is right and is not what runs."""

from .piece import Piece

PIECES = (
    Piece(
        id="weights-folded-into-the-plan",
        title="Yesterday's weights",
        file="refnet/plan/plan.py",
        right="                and not isinstance(t, Variable)\n",
        wrong="",
        story="""
            A plan computes what cannot change once, when it is made. Weights have values like any
            other tensor, and without this line they count as constants. Whatever was computed from
            weights alone, a penalty for instance, is frozen as it was at the first batch.
        """,
        symptom="The penalty on the weights stays the same number for the whole training.",
        test="tests/models/test_models.py::test_recorded_steps_are_the_eager_ones[sgd-penalties-numpy]",
    ),
    Piece(
        id="update-left-out-of-the-plan",
        title="The step that nobody asked for",
        file="refnet/plan/plan.py",
        right="recorded([*outputs, *keep], given=inputs)",
        wrong="recorded(outputs, given=inputs)",
        story="""
            A plan runs what its results need. No result needs the update of the weights: it is
            done for its effect. The first batch runs eagerly and is right. Every later one
            computes a loss and forgets to learn from it. TensorFlow 1 had control dependencies for
            this.
        """,
        symptom="The loss drops once and never again.",
        test="tests/models/test_models.py::test_recorded_steps_are_the_eager_ones[sgd-softmax-numpy]",
    ),
    Piece(
        id="updates-last",
        title="Updates put off to the end",
        file="refnet/autograd/tensor.py",
        right="return [found[serial] for serial in sorted(found)]",
        wrong="return [found[s] for s in sorted(found, key=lambda s: (bool(found[s].op.writes), s))]",
        story="""
            An order is topological if inputs come first. But what reads a variable and what
            overwrites it are not connected by any input, so such an order may put either first.
            Collecting all updates at the end of a step looks tidy. It also hands the old value to
            whoever asked after the update.
        """,
        symptom="The session's numbers differ from the eager ones, by one step.",
        test="tests/graph/test_session.py::test_what_is_read_before_an_update_has_the_old_value",
    ),
    Piece(
        id="result-is-the-variable-itself",
        title="The caller's array is the session's",
        file="refnet/graph/session.py",
        right='owned = self.backend.name == "numpy" and array.base is None and id(x) not in shared',
        wrong='owned = self.backend.name == "numpy" and array.base is None',
        story="""
            Copying each result costs time, and a fresh result need not be copied. A fetched
            variable is not fresh: its array is the one that the session trains. A user who scales
            the array for a plot scales the weights. Aliasing is the mistake that no formula shows.
        """,
        symptom="Looking at a weight changes it.",
        test="tests/graph/test_session.py::test_results_are_the_callers_own",
    ),
    Piece(
        id="weights-handed-out",
        title="Best weights that are always the last",
        file="refnet/layers/layer.py",
        right="return [np.array(w.numpy()) for w in self.weights]",
        wrong="return [w.known() for w in self.weights]",
        story="""
            Early stopping keeps the best weights so far, and puts them back at the end. If what it
            keeps is a view, it watches the weights move on and puts back the last ones. No error,
            no warning: a feature that does nothing.
        """,
        symptom="restore_best_weights=True restores the last ones.",
        test="tests/callbacks/test_hooks.py::test_the_best_weights_are_not_the_last",
        complaint="Arrays are not equal",
        unseen="The test of early stopping compared views of the weights with views of the weights.",
    ),
    Piece(
        id="what-was-read-changes",
        title="What was read changes later",
        file="refnet/autograd/variable.py",
        right="        return self.backend.array(self.known())\n",
        wrong="        return self.known()\n",
        story="""
            A weight changes in place, so that the memory of a model stays where it is. Whoever reads
            it gets that memory, unless somebody copies: w.numpy() before a step and w.numpy() after
            it are then the same numbers, and their difference, which was to be plotted, is 0. Here
            the copy was missing for a long time, in numpy() and in every op that makes a view.
        """,
        symptom="Curves of weights that never moved.",
        test="tests/autograd/test_reading.py::test_a_callback_sees_the_weights_change[numpy]",
        unseen="Tests of training copied what they compared, each by itself.",
    ),
    Piece(
        id="old-prediction-new-weights",
        title="An old prediction with new weights",
        file="refnet/losses/probabilistic.py",
        right="if node is None or _outdated(node):",
        wrong="if node is None:",
        story="""
            A cross-entropy that is given probabilities goes back to the scores they were made from,
            since ln σ(x) loses nothing there. A layer that does all at once has kept no scores, so
            they are computed again. By then its weights may have been assigned. The loss is that of
            a prediction nobody made.
        """,
        symptom="p = model(x), new weights, and the loss of p is another one.",
        test="tests/autograd/test_reading.py::test_a_loss_is_that_of_the_prediction_it_was_given"
        "[numpy-sigmoid-BinaryCrossentropy-y0-fused-model.set_weights]",
        complaint="Not equal",
        unseen="No test changed the weights between the prediction and its loss.",
    ),
    Piece(
        id="tensor-shares-its-array",
        title="A tensor that changes by itself",
        file="refnet/backend/numpy.py",
        right="            return np.array(values, dtype)\n",
        wrong="            return np.asarray(values, dtype)\n",
        story="""
            np.asarray is np.array without the copy, and the fast one is the tempting one. The
            tensor and the user's array are then the same memory. It goes well until a buffer is
            filled anew for the next batch, while gradients of the last one are still to be
            computed.
        """,
        symptom="Results depend on when they are read.",
        test="tests/autograd/test_tensor.py::test_a_new_tensor_is_a_copy[numpy]",
    ),
    Piece(
        id="unknown-op-in-a-file",
        title="An op that no table knows",
        file="refnet/graph/files.py",
        right="_require(isinstance(entry.op, str) and entry.op in TABLE,",
        wrong="_require(isinstance(entry.op, str),",
        story="""
            A graph file names its ops, and the reader looks them up. If the name is not there,
            somebody damaged the file, or wrote it on purpose. Whether that ends in a clear error
            or in a stack trace of the reader's insides is the difference between a checked format
            and a lucky one.
        """,
        symptom="KeyError: 'os.system' from the depths of the loader.",
        test="tests/graph/test_files.py::test_a_file_that_is_not_in_order[unknown op]",
        complaint="KeyError|UnknownNameError|os.system",
    ),
    Piece(
        id="file-that-runs",
        title="A file that runs what it holds",
        file="refnet/base/files.py",
        right='    raise FileError(f"an attribute is not understood: {value!r}")',
        wrong='    return eval(str(value.get("eval")))',
        story="""
            Attributes are numbers, tuples, slices; one day somebody needs a lambda and lets the
            file say so in Python. From then on opening a model means running a stranger's program.
            Pickle files are this mistake as a format, and for Lambda layers Keras has a safe mode.
        """,
        symptom="None, which is the trouble.",
        test="tests/graph/test_files.py::test_a_file_that_is_not_in_order"
        "[attribute not understood]",
        complaint="DID NOT RAISE|Regex|match",
    ),
    Piece(
        id="cycle-of-one",
        title="An op that reads itself",
        file="refnet/graph/files.py",
        right="if place[source] >= number:",
        wrong="if place[source] > number:",
        story="""
            Whatever an op reads has to stand before it. Before, not beside: with > in place of >=
            an op may read its own result. The smallest cycle there is slips through the check for
            cycles.
        """,
        symptom="A hostile file fails late, with another message or with none.",
        test="tests/graph/test_files.py::test_a_file_that_is_not_in_order[itself]",
        complaint="Regex|match|DID NOT RAISE",
    ),
    Piece(
        id="half-a-file",
        title="Half a checkpoint",
        file="refnet/base/files.py",
        right='    unfinished = path.with_name(f".{path.name}.{os.getpid()}")\n    try:\n'
        '        with open(unfinished, "wb") as file:\n            file.write(content)\n'
        "            file.flush()\n            os.fsync(file.fileno())\n"
        "        os.replace(unfinished, path)\n    finally:\n"
        "        unfinished.unlink(missing_ok=True)\n",
        wrong='    with open(path, "wb") as file:\n        file.write(content)\n        file.flush()\n'
        "        os.fsync(file.fileno())\n",
        story="""
            Opening a file for writing empties it. If the disk is full, or the machine goes down
            before all is written, the new checkpoint is half there and the old one gone. A
            temporary file and a rename cost two lines. One needs them on the day of the power cut.
        """,
        symptom="After a crash there is no checkpoint at all.",
        test="tests/base/test_files.py::test_a_full_disk_leaves_the_old_file",
        complaint="the old one",
        unseen="The test saved the same bytes again, which look whole when half of them are old.",
    ),
)

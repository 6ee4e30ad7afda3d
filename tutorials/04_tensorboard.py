"""Lesson 4: TensorBoard, or watching a network learn.

A network of ten thousand weights cannot be read. TensorBoard shows it: a program that reads what a
training has written and draws it in the browser, while the training runs or years later. It serves
two purposes: to see the graph, and to see the learning.

    python tutorials/04_tensorboard.py
    tensorboard --logdir runs/04_tensorboard

It comes with TensorFlow, but does not need it, and neither do we: pip install 'refnet[viz]'.
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np

import refnet
from refnet import datasets, layers
from refnet.callbacks import TensorBoard
from refnet.summary import SummaryWriter

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
EPOCHS = 3 if SHORT else 30
refnet.utils.set_random_seed(0)  # so that you see the same numbers each time

RUNS = Path("runs") / "04_tensorboard"
try:
    SummaryWriter(RUNS)
except refnet.errors.MissingPackageError as error:
    print(f"This lesson writes for TensorBoard, which is not here: {error}")
    sys.exit()

# A folder is a run. Two trainings written into one folder would be drawn as one tangled curve, so
# what an earlier start of this lesson has left goes away.

shutil.rmtree(RUNS, ignore_errors=True)


# -- 1. A number at every step ---------------------------------------------------------------------
#
# A summary is a value with a tag, which says what it is, and a step, which says when. The simplest
# is a number. Here gradient descent walks down the parabola L = x², whose slope is 2x, from x = 1:
#
#     x ← x - η 2x
#
# with three learning rates η. Runs that use the same tag share a plot, so each η is a run.

for rate in (0.02, 0.2, 0.95):
    x = 1.0
    with SummaryWriter(RUNS / "parabola" / f"rate {rate}") as writer:
        for step in range(30):
            writer.add_scalar("parabola/loss", x**2, step)
            writer.add_scalar("parabola/x", x, step)
            x -= rate * 2 * x
    assert np.isclose(x, (1 - 2 * rate) ** 30)  # each step multiplies x by 1 - 2η
    print(f"parabola, learning rate {rate:4}: after 30 steps x = {x:+.6f}")

# Look at parabola/x: 0.02 crawls, 0.2 is there after a few steps, 0.95 jumps from side to side,
# as 1 - 2η is -0.9. A loss curve tells a bad learning rate at a glance.


# -- 2. Pictures, texts, histograms ----------------------------------------------------------------
#
# The first thing to do with data is to look at them.

(x_train, y_train), (x_test, y_test) = datasets.digits.load_data()

with SummaryWriter(RUNS / "data") as writer:
    writer.add_images("digits/first 40", 1 - x_train[:40], step=0, columns=10)
    writer.add_text("digits/about", f"**{len(x_train)}** digits of 8 × 8 pixels to learn from.")

    # A histogram says how often which value occurs. The sum of n random numbers, divided by √n,
    # keeps its width, whatever n is; its shape becomes the bell curve. This is why an initializer
    # divides by the square root of the number of inputs: every layer then begins with scores of
    # about the same size.

    random = np.random.default_rng(0)
    for n in range(1, 13):
        sums = random.uniform(-1, 1, (5000, n)).sum(axis=1) / np.sqrt(n)
        writer.add_histogram("sums/sum of n numbers, over √n", sums, step=n)
        assert np.isclose(sums.std(), np.sqrt(1 / 3), rtol=0.05)  # the spread of one number


# -- 3. The graph ----------------------------------------------------------------------------------
#
# In a graph, nothing is computed yet: placeholders stand where the data will be, and each op waits
# for what it reads. `name_scope` puts what belongs together into a box, which opens with a double
# click. This is one layer of three neurons, its loss, and the gradient of that loss, which is a
# graph as well:

with refnet.Graph() as graph:
    x = refnet.placeholder((None, 4), name="x")
    target = refnet.placeholder((None, 3), name="target")
    with refnet.name_scope("neurons"):
        w = refnet.Variable(np.zeros((4, 3), "float32"), name="w")
        b = refnet.Variable(np.zeros(3, "float32"), name="b")
        y = refnet.activations.sigmoid(x @ w + b)
    with refnet.name_scope("loss"):
        loss = ((y - target) ** 2).mean()
    with refnet.name_scope("gradients"):
        refnet.gradients(loss, [w, b])

with SummaryWriter(RUNS / "graph of three neurons") as writer:
    writer.add_graph(graph)
print(f"\nThe graph of three neurons has {len(graph.entries())} nodes.")


# -- 4. A training, watched ------------------------------------------------------------------------
#
# The network of lesson 1 again. All that is new is the callback. It writes
#
# - the loss and the accuracy after each epoch, of the training and of the digits set aside;
# - the learning rate, and the graph of the model;
# - with histogram_freq, how the weights of each layer are spread, every so many epochs;
# - with sample, how the gradients are spread, the loss being that of some of the training digits;
# - with mistakes, a picture of the digits it is most wrong about.

model = refnet.Sequential(
    [
        layers.Input((8, 8)),
        layers.Flatten(),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dense(10, activation="softmax", name="output"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

try:
    import matplotlib  # noqa: F401  # the picture of mistakes is drawn with it

    mistakes = (x_test, y_test)
except ImportError:
    mistakes = None

history = model.fit(
    x_train,
    y_train,
    batch_size=32,
    epochs=EPOCHS,
    validation_data=(x_test, y_test),
    callbacks=[
        TensorBoard(
            RUNS / "digits",
            histogram_freq=1,
            sample=(x_train[:256], y_train[:256]),
            mistakes=mistakes,
            mistakes_freq=1 if SHORT else 5,
        )
    ],
    verbose=0,
).history

accuracy = history["val_accuracy"][-1]
print(f"\nAfter {EPOCHS} epochs it reads {accuracy:.1%} of the digits it has never seen right.")
assert accuracy > 0.8

# Training happens in log_dir/train, validation in log_dir/validation: two runs with the same tags,
# so that each pair of curves lies in one plot.

for run in sorted(folder.parent for folder in RUNS.rglob("events.out.tfevents.*")):
    print(f"  {run}")


# -- 5. What to see --------------------------------------------------------------------------------
#
# Start TensorBoard with the command below, open the address that it prints, and go through the pages.
#
# TIME SERIES shows everything below each other; the other pages show one kind each. On the left are
#   the runs: switch off what you do not compare. The slider for smoothing averages noisy curves;
#   the pale line is what was written.
#
# SCALARS   epoch_loss: does it fall? Where the curve of the validation turns upwards and that of the
#   training goes on falling, the network has begun to learn the pictures by heart. The curves of
#   evaluation_..._vs_iterations are the validation's too, over steps in the place of epochs, so that
#   trainings with batches of different size can be compared.
#
# GRAPHS   Data flow from the bottom to the top; shapes stand beside the edges, ? being the length of
#   the batch. Double-click a box to open it, click a node to see its attributes and the line of your
#   program that made it. Choose the run on the left: "digits/train" or "graph of three neurons".
#
# HISTOGRAMS, DISTRIBUTIONS   One slice for each epoch, the latest in front. hidden/kernel/histogram:
#   weights that spread from where they started are learning; a slice that never changes is a layer
#   that does not learn. hidden/kernel/gradient: gradients that shrink towards zero say that the
#   training has arrived, or, if the loss is still high, that they vanish on their way down. And
#   sums/..., from section 2: from the block of one number, slice by slice, to the bell of twelve.
#
# IMAGES   mistakes: 4 → 9 is a 4 that was taken for a 9. Move the slider to go from epoch to epoch.
#   digits/first 40: what there is to learn from.
#
# TEXT   digits/about: what was written with add_text, as Markdown. Here it says how many digits there
#   are; it is the place for whatever you want to know about a run a year later.

print(
    f"\nNow start TensorBoard, and open the address it prints:\n\n    tensorboard --logdir {RUNS}"
)

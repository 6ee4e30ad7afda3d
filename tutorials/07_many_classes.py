"""Lesson 7: many classes.

How labels become numbers that a network can be trained on, and which output layer goes with which
question: sigmoids where an example can be several things, softmax where it is exactly one.

    python tutorials/07_many_classes.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/.
"""

import os
from pathlib import Path

import numpy as np

import refnet
from refnet import activations, datasets, layers, losses, plot
from refnet.errors import MissingPackageError
from refnet.utils import multi_hot, to_categorical

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
EPOCHS = 8 if SHORT else 100
refnet.utils.set_random_seed(0)


# -- 1. Two kinds of question ----------------------------------------------------------------------
#
#   - Exclusive classes: an example belongs to exactly one. A photo is in colour or in greys.
#   - Non-exclusive classes: it may belong to several, or to none. A photo can be tagged "family",
#     "beach" and "vacation".
#
# Either way the network gets one output neuron for each class. What differs is what the neurons'
# outputs mean together: the activation of the output layer, and the loss.


# -- 2. Labels as rows of numbers ------------------------------------------------------------------
#
# One column for each class, 1 where the example belongs to it. For exclusive classes a row has
# exactly one 1: one-hot.

colours = ["red", "green", "blue"]
print("One-hot:")
for name, row in zip(
    ["blue", "red"], to_categorical(["blue", "red"], classes=colours), strict=True
):
    print(f"  {name:5} {row}")

# (The numbers 0, 1, 2 would not do as a target for one neuron: green is not halfway from red to
# blue.) For non-exclusive classes any number of ones may stand in a row: multi-hot.

points = [["A", "B"], ["A"], ["C", "B"], ["B"]]
table = multi_hot(points, classes=["A", "B", "C"])
print("\nMulti-hot:      A  B  C")
for names, row in zip(points, table.astype(int), strict=True):
    print(f"  {','.join(names):10}    " + "  ".join(map(str, row)))
assert table.tolist() == [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]]


# -- 3. Non-exclusive: a sigmoid for each class ----------------------------------------------------
#
# Each output answers a question of its own, yes or no, and its sigmoid gives the probability of
# yes. Five outputs of 0.8, 0.9, 0.7, 0.8 and 0.6 are fine then: their sum is not 1, and need not be,
# because a photo can be all five things. The course says that one cannot go on with such values;
# that holds where the classes exclude each other.

p = np.array([0.8, 0.9, 0.7, 0.8, 0.6])
print(f"\nFive sigmoids: {p}, sum {p.sum():.1f}: so many tags are to be expected.")

# The loss is the binary cross-entropy: what the right answer to each question costs, -ln p for yes
# and -ln(1 - p) for no, on average over the questions.

y = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
cost = np.where(y == 1, -np.log(p), -np.log(1 - p))
print(f"If the truth is {y.astype(int)}: they cost {cost.round(2)}, on average {cost.mean():.3f}.")
assert np.isclose(losses.binary_crossentropy(y, p), cost.mean())


# -- 4. Exclusive: softmax -------------------------------------------------------------------------
#
# If exactly one class is right, the probabilities have to add up to 1. Softmax makes them do so:
#
#     p_i = e^(z_i) / Σ_j e^(z_j)

z = np.array([1.8, 0.9, 0.68])
p = activations.softmax(z)
print(f"\nsoftmax({z}) = {p.round(2)}, sum {p.sum():.0f}")
assert p.round(2).tolist() == [0.58, 0.23, 0.19]
assert np.allclose(p, np.exp(z) / np.exp(z).sum())

# The course goes on: "The function returns 1 for the largest probability index while it returns 0
# for the other two". Softmax does not: it returned 0.58, 0.23 and 0.19. The ones and zeros are the
# decision that may be made from them, one_hot(argmax p). It forgets how sure the network was, and
# its gradient is 0, so it has no place in training. (Softmax comes close to it for scores that lie
# far apart: softmax is a soft argmax.)

decision = to_categorical(p.argmax(), 3)
far_apart = activations.softmax(10 * z)
print(f"one_hot(argmax p) = {decision}")
print("softmax of ten times the scores: " + ", ".join(f"{share:.4f}" for share in far_apart))
assert decision.tolist() == [1, 0, 0]
assert far_apart.max() < 1

# The course calls softmax a combination of sigmoids. It is one in this sense: each p_i is a sigmoid
# of the lead that its score has over all others together,
#
#     p_i = σ(z_i - ln Σ_{j≠i} e^(z_j)),     of two classes: p_1 = σ(z_1 - z_2)

for i in range(3):
    lead = z[i] - np.log(np.exp(np.delete(z, i)).sum())
    print(f"  σ({lead:5.2f}) = {activations.sigmoid(lead):.2f}")
    assert np.isclose(activations.sigmoid(lead), p[i])
assert np.isclose(activations.softmax(z[:2])[0], activations.sigmoid(z[0] - z[1]))

# The loss is the categorical cross-entropy, -ln of the probability of the right class. With labels
# as rows or as numbers ("sparse") it is the same. Here the right class is the second:

cost = -np.log(p[1])
assert np.isclose(losses.categorical_crossentropy(np.array([0.0, 1.0, 0.0]), p), cost)
assert np.isclose(losses.sparse_categorical_crossentropy(np.array([1]), p[None])[0], cost)
print(f"If the second is right, that costs -ln {p[1]:.3f} = {cost:.2f}.")


# -- 5. Exclusive classes, trained: which digit is it? ---------------------------------------------

(x_train, digit_train), (x_test, digit_test) = datasets.digits.load_data()


def mean_probabilities(probabilities, digit):
    """What a network says on average about the pictures of one digit."""
    mean = probabilities[digit_test == digit].mean(axis=0)
    shown = "  ".join(f"{m:14.2f}" for m in mean)
    print(f"  of the {digit}s: {shown}   sum {mean.sum():.2f}")


def network(outputs, activation):
    return refnet.Sequential(
        [
            layers.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(outputs, activation=activation),
        ]
    )


reader = network(10, "softmax")
reader.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
rows_train, rows_test = to_categorical(digit_train, 10), to_categorical(digit_test, 10)
reader.fit(x_train, rows_train, batch_size=32, epochs=EPOCHS, verbose=0)
_, accuracy = reader.evaluate(x_test, rows_test)
print(f"\nWhich digit is it? {accuracy:.1%} of new digits are read right.")
sums = reader.predict(x_test).sum(axis=1)
assert np.allclose(sums, 1, atol=1e-5)
assert accuracy > 0.8


# -- 6. Non-exclusive classes, trained: what is true of it? ----------------------------------------
#
# Three questions about the digit: is it even, is it greater than 4, has it a loop? An 8 is all
# three, a 1 is none.

QUESTIONS = ["even", "greater than 4", "has a loop"]
HOLDS_FOR = [(0, 2, 4, 6, 8), (5, 6, 7, 8, 9), (0, 6, 8, 9)]
TRUE_OF = [
    [question for question, those in zip(QUESTIONS, HOLDS_FOR, strict=True) if digit in those]
    for digit in range(10)
]
print(f"\nTrue of an 8: {TRUE_OF[8]}; of a 2: {TRUE_OF[2]}; of a 1: {TRUE_OF[1]}")

y_train = multi_hot([TRUE_OF[d] for d in digit_train], classes=QUESTIONS)
y_test = multi_hot([TRUE_OF[d] for d in digit_test], classes=QUESTIONS)

tagger = network(3, "sigmoid")
# "accuracy" would take the rows for one-hot ones and compare where they are largest.
tagger.compile("adam", "binary_crossentropy", metrics=["binary_accuracy"])
history = tagger.fit(
    x_train, y_train, batch_size=32, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=0
).history

p = tagger.predict(x_test)
right = (p > 0.5) == (y_test == 1)
print("\nWhat is true of it? Right answers about new digits:")
for name, share in zip(QUESTIONS, right.mean(axis=0), strict=True):
    print(f"  {name:15} {share:.1%}")
print(f"  all three       {right.all(axis=1).mean():.1%}")
_, by_metric = tagger.evaluate(x_test, y_test)
assert np.isclose(by_metric, right.mean(), atol=1e-6)
assert right.mean() > 0.85

print("\nMean\nprobabilities " + "  ".join(f"{question:>14}" for question in QUESTIONS))
for digit in (8, 6, 2, 1):
    mean_probabilities(p, digit)


# -- 7. What goes wrong with the other one ---------------------------------------------------------
#
# Softmax in the place of the sigmoids makes the three answers share one probability. Then an 8 can
# be even only at the cost of its loop, and a 1, of which nothing is true, has to be something.

sharing = network(3, "softmax")
sharing.compile("adam", "binary_crossentropy")
sharing.fit(x_train, y_train, batch_size=32, epochs=EPOCHS, verbose=0)
shared = sharing.predict(x_test)
print("\nThe same with softmax, which is wrong here:")
for digit in (8, 1):
    mean_probabilities(shared, digit)
wrong_way = ((shared > 0.5) == (y_test == 1)).all(axis=1).mean()
print(f"  all three right: {wrong_way:.1%}, with sigmoids {right.all(axis=1).mean():.1%}")
assert wrong_way < right.all(axis=1).mean() - 0.2

# And sigmoids for the ten digits: they can all say no, or two of them yes.

ten = network(10, "sigmoid")
ten.compile("adam", "binary_crossentropy")
ten.fit(x_train, rows_train, batch_size=32, epochs=EPOCHS, verbose=0)
q = ten.predict(x_test)
yes = (q > 0.5).sum(axis=1)
print(
    f"\nTen sigmoids for ten digits: their sums are {q.sum(axis=1).min():.2f} to "
    f"{q.sum(axis=1).max():.2f}; of {len(q)} digits, {(yes == 0).sum()} are taken for none and "
    f"{(yes > 1).sum()} for several."
)
assert not np.allclose(q.sum(axis=1), 1, atol=0.1)


# -- 8. Which to take ------------------------------------------------------------------------------
#
#     question                        output layer         loss
#     a number                        Dense(1)             mean_squared_error
#     yes or no                       Dense(1), sigmoid    binary_crossentropy
#     one of n classes                Dense(n), softmax    categorical_crossentropy (one-hot rows)
#                                                          sparse_categorical_crossentropy (numbers)
#     any of n classes                Dense(n), sigmoid    binary_crossentropy (multi-hot rows)

pictures = Path("runs") / "07_many_classes"
try:
    print(
        "\nPicture:",
        plot.loss_curves(history, pictures / "tags.png", "Even, greater than 4, with a loop"),
    )
except MissingPackageError as error:
    print(f"\nNo pictures: {error}")

"""Lesson 1: a first network.

A network that reads handwritten digits: 64 pixels go in, ten probabilities come out. By the end you
will have seen everything that happens in between, with the numbers checked by hand.

    python tutorials/01_first_network.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/, and with PyTorch and Triton it
ends by running the same network on GPU kernels (or in their interpreter, if there is no GPU).
"""

import os
from pathlib import Path

import numpy as np

import refnet
from refnet import datasets, layers, plot
from refnet.errors import MissingPackageError

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
EPOCHS = 2 if SHORT else 30
refnet.utils.set_random_seed(0)  # so that you see the same numbers each time


# -- 1. The data -----------------------------------------------------------------------------------
#
# 1797 digits, each a picture of 8 x 8 pixels between 0 (paper) and 1 (ink), with a label: the digit
# that it shows. A fifth of them is set aside. The network never learns from those, so they tell
# whether it has understood digits or merely remembers the pictures it was shown.

(x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
print(f"{len(x_train)} digits to learn from, {len(x_test)} to be tested on\n")

print(f"This is the digit {y_train[0]}:")
for row in x_train[0]:
    print("   ", "".join(" ░▒▓█"[round(float(pixel) * 4)] * 2 for pixel in row))


# -- 2. The network --------------------------------------------------------------------------------
#
# Layers in a row; each hands its output to the next. The shapes, with B pictures in a batch:

model = refnet.Sequential(
    [
        layers.Input((8, 8)),  # (B, 8, 8)
        layers.Flatten(),  # (B, 64)    the rows of a picture, one behind the other
        layers.Dense(128, activation="relu"),  # (B, 128)   the hidden layer
        layers.Dense(10, activation="softmax"),  # (B, 10)    a probability for each digit
    ]
)
print()
model.summary()


# -- 3. What a layer computes ----------------------------------------------------------------------
#
# Every neuron of a Dense layer weighs all its inputs, adds up, adds its bias, and passes the sum
# through its activation f. For all neurons and all pictures at once it is a product of matrices:
#
#     y = f(x W + b)          ReLU: f(z) = max(0, z)
#
# The weights W start random, the biases b at zero. Here is the first layer by hand:

_, flatten, hidden, output = model.layers
x = x_train[:32].reshape(32, 64)  # (32, 64)
W, b = hidden.get_weights()  # (64, 128) and (128,)
by_hand = np.maximum(0, x @ W + b)  # (32, 128)
assert np.allclose(by_hand, hidden(x), rtol=1e-5, atol=1e-6)
print("\nmax(0, x W + b) is what the hidden layer says: checked.")


# -- 4. Softmax: scores become probabilities -------------------------------------------------------
#
# The last layer gives every digit a score z, any number at all. Softmax makes probabilities of
# them, positive and with sum 1: the larger the score, the larger its share.
#
#     p_i = e^(z_i) / Σ_j e^(z_j)

W2, b2 = output.get_weights()  # (128, 10) and (10,)
scores = by_hand @ W2 + b2  # (32, 10)
p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
assert np.allclose(p, model.predict(x_train[:32]), rtol=1e-4)
print(
    f"An untrained network guesses: to the right answer for the digit above it gives "
    f"a probability of {p[0, y_train[0]]:.2f}."
)


# -- 5. The loss: one number for how wrong it is ---------------------------------------------------
#
# The cross-entropy looks at the probability of the right digit alone: L = -ln p. It is 0 if the
# network was sure and right, and grows without bound the surer it was of something else. Guessing
# among ten costs about ln 10 = 2.3. The loss of a batch is the mean.

right = y_train[:32]
loss_by_hand = -np.log(p[np.arange(32), right]).mean()

model.compile(
    optimizer=refnet.optimizers.SGD(learning_rate=0.1),
    loss="sparse_categorical_crossentropy",  # sparse: the labels are numbers, 0 to 9
    metrics=["accuracy"],
)
loss, accuracy = model.evaluate(x_train[:32], right)
assert np.isclose(loss, loss_by_hand, rtol=1e-5)
print(f"Its loss is {loss:.3f}; ln 10 is {np.log(10):.3f}.")


# -- 6. The gradient: which way is down ------------------------------------------------------------
#
# Training is going downhill. The gradient ∂L/∂w says how the loss changes as one weight w changes.
# One way to find it: nudge the weight and look. For 9,610 weights that would be 9,610 runs of the
# network. Back-propagation finds all of them in one walk backwards. A tensor remembers how it was
# computed, and `gradients` follows that trail:

prediction = model(x_train[:32])  # a tensor, with its history
loss = model.loss(refnet.tensor(right), prediction)
gradients = refnet.gradients(loss, model.trainable_weights)

# Do the two agree? Nudge one weight, between pixel 20 and neuron 0 of the hidden layer:

nudge = np.zeros_like(W)
nudge[20, 0] = 0.01


def loss_with(kernel):
    hidden.kernel.assign(kernel)
    return model.evaluate(x_train[:32], right, return_dict=True)["loss"]


slope = (loss_with(W + nudge) - loss_with(W - nudge)) / 0.02
hidden.kernel.assign(W)
print(f"∂L/∂w by nudging: {slope:.5f}, by back-propagation: {gradients[0].numpy()[20, 0]:.5f}")
assert np.isclose(slope, gradients[0].numpy()[20, 0], atol=1e-4)


# -- 7. One step -----------------------------------------------------------------------------------
#
# Gradient descent takes a step against the gradient. The learning rate η is the size of the step:
#
#     w ← w - η ∂L/∂w
#
# By hand, and then by the optimizer:

stepped = [w - 0.1 * g.numpy() for w, g in zip(model.get_weights(), gradients, strict=True)]
before = model.train_on_batch(x_train[:32], right, return_dict=True)["loss"]
for by_hand, by_optimizer in zip(stepped, model.get_weights(), strict=True):
    assert np.allclose(by_hand, by_optimizer, atol=1e-6)
after, _ = model.evaluate(x_train[:32], right)
print(f"One step down: the loss went from {before:.3f} to {after:.3f}.")


# -- 8. Training -----------------------------------------------------------------------------------
#
# `fit` repeats that step: it shuffles the digits, cuts them into batches of 32, takes a step for
# each; that is an epoch, and then it starts over. Adam is gradient descent with a step size of its
# own for each weight. The digits set aside are shown after each epoch, and not learned from.

model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=32, epochs=EPOCHS, validation_data=(x_test, y_test)
).history

loss, accuracy = model.evaluate(x_test, y_test)
print(f"\nOf the digits it has never seen, it reads {accuracy:.1%} right.")


# -- 9. Its mistakes -------------------------------------------------------------------------------
#
# The interesting ones: the digits whose right answer it gave the smallest probability. Was it
# close? Would you have known?

p = model.predict(x_test)  # (359, 10)
hardest = np.argsort(p[np.arange(len(y_test)), y_test])[:8]
for i in hardest[:5]:
    said = p[i].argmax()
    print(
        f"  test image {i:3} shows {y_test[i]}; it says {said}, and is {p[i, said]:.0%} sure of it"
    )

pictures = Path("runs") / "01_first_network"
try:
    plot.loss_curves(history, pictures / "loss.png", "Learning to read digits")
    plot.predictions(
        x_test[hardest],
        p[hardest],
        y_test[hardest],
        pictures / "mistakes.png",
        "The hardest digits",
    )
    print(f"\nPictures: {pictures / 'loss.png'}, {pictures / 'mistakes.png'}")
except MissingPackageError as error:
    print(f"\nNo pictures: {error}")


# -- 10. The same network on a GPU -----------------------------------------------------------------
#
# All of the above was NumPy, to be read. Every operation also exists as a Triton kernel, to be
# fast. One line moves a model over, with its weights and the memory of its optimizer. To see that
# nothing but the speed changes, train two copies, one on each side, with the same batches:


def losses_of_ten_steps(backend):
    copy = refnet.Sequential(
        [
            layers.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    copy.compile("adam", "sparse_categorical_crossentropy")
    copy.set_weights(start)
    copy.to(backend)  # this line
    starts = range(0, 320, 32)
    return [copy.train_on_batch(x_train[i : i + 32], y_train[i : i + 32]) for i in starts]


start = model.get_weights()
try:
    ours = losses_of_ten_steps("triton")
except refnet.errors.RefnetError as error:
    print(f"\nTriton cannot run here: {error}\n`refnet doctor` says what to install.")
else:
    print("\n  step   loss on NumPy   on Triton    difference")
    for step, (a, b) in enumerate(zip(losses_of_ten_steps("numpy"), ours, strict=True), 1):
        print(f"  {step:4}   {a:13.8f}   {b:.8f}   {abs(a - b):.1e}")
        assert np.isclose(a, b, rtol=1e-3, atol=1e-5)
    print("The same, but for the rounding of the last digits: sums are added up in another order.")

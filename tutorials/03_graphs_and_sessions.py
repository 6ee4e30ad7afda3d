"""Lesson 3: graphs and sessions.

A computation written down before it is run. You will build a graph, look at its nodes and edges, run
parts of it, train a network in a session, save it, run it in another process, and hand it to several
workers and to another backend.

    python tutorials/03_graphs_and_sessions.py

It needs NumPy alone. With matplotlib it leaves pictures in runs/, and with PyTorch and Triton it
runs the same graph on GPU kernels (or in their interpreter, if there is no GPU).
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import refnet
from refnet import datasets, layers, losses, optimizers, plot
from refnet.errors import GraphError, MissingPackageError, NotReadyError, RefnetError, ShapeError

SHORT = os.environ.get("REFNET_LESSON") == "short"  # how the tests run it
EPOCHS = 1 if SHORT else 10
RUNS = Path("runs") / "03_graphs_and_sessions"
RUNS.mkdir(parents=True, exist_ok=True)
refnet.utils.set_random_seed(0)  # so that you see the same numbers each time


# -- 1. Known values run now, placeholders wait ----------------------------------------------------
#
# In lesson 2 each operation ran as soon as it was written: every number was known. A **placeholder**
# is a tensor whose numbers will come later. What is computed from it has to wait, and is written
# down in a **graph**: here in the one of the `with` block, otherwise in a default graph.
#
# This is how TensorFlow 1 worked throughout. Since version 2 it computes at once as well, and keeps
# placeholders and sessions in tf.compat.v1; its graphs are made by tf.function. The idea is the same.

with refnet.Graph() as line:
    x = refnet.placeholder((None, 2), name="x")  # None: any number of rows
    w = refnet.Variable([[2.0], [-1.0]], name="w")
    b = refnet.Variable([0.5], name="b")
    with refnet.name_scope("line"):  # names within start with line/
        y = (x @ w + b).named("y")
    target = refnet.placeholder((None, 1), name="target")
    with refnet.name_scope("loss"):
        loss = ((y - target) ** 2.0).mean().named("mean")

print("Known:  ", refnet.tensor([1.0, 2.0]) * 3.0)
print("Waiting:", y)
print("The graph:", line)
try:
    y.numpy()
except NotReadyError as error:
    print(f"  {type(error).__name__}: {error}")
else:
    raise AssertionError("this should have failed")


# -- 2. Shapes and types are known while you build -------------------------------------------------
#
# y has no numbers yet, but one row for each row of x, and one column. So a graph that cannot work is
# an error on the line that is wrong, and not later, in the middle of a run:

print(f"\ny: shape {y.shape}, {y.dtype}. The loss: shape {loss.shape}.")
assert y.shape == (None, 1)
assert loss.shape == ()
try:
    wrong = x @ refnet.ones((3, 1))
except ShapeError as error:
    print(f"  {type(error).__name__}: {error}")
    assert "wrong = x @ refnet.ones((3, 1))" in str(error)
else:
    raise AssertionError("this should have failed")


# -- 3. Nodes and edges ----------------------------------------------------------------------------
#
# "A tensor has a node and an edge", says the course: the node carries the operation, the edges are
# who reads whose output. To be exact: an operation is a node; a tensor is what one node puts out,
# and each arrow from there to a node that reads it is an edge. Placeholders, variables and constants
# are nodes that read nothing. "All the computations in the graph are done by connecting tensors
# together": here is all that is in this one.

print("\n  name            kind          what comes out      reads")
for entry in line.entries():
    shape, dtype = entry.outputs[0]
    reads = f"{entry.op}({', '.join(entry.inputs)})" if entry.op else ""
    print(f"  {entry.name:15} {entry.kind:12}  {shape!s:9} {dtype:8}  {reads}".rstrip())

entries = {entry.name: entry for entry in line.entries()}
edges = [(source, entry.name) for entry in entries.values() for source in entry.inputs]
print(f"{len(entries)} nodes, {len(edges)} edges")
assert ("line/matmul", "line/y") in edges
assert entries["line/y"].op == "add"
assert [t.name for t in y.node.inputs] == ["line/matmul", "b"]  # as in lesson 2

# Each op knows the line that wrote it:

print("line/y was written in", entries["line/y"].line)

# A line that computes with a placeholder adds its ops each time it runs. Run a cell of a notebook
# twice, and they are there twice: make the graph anew in the same cell.

with refnet.Graph() as again:
    z = refnet.placeholder((), name="z")
    for _ in range(2):
        twice = z * 2.0
print("The same line, run twice:", [e.name for e in again.entries() if e.op])
assert len(again.nodes) == 2

# What is known already is not written down. It is computed once, while you write, and stands in the
# graph as a constant:

with refnet.Graph() as small:
    z = refnet.placeholder((), name="z")
    seconds = z * (refnet.tensor(60.0) * 60.0 * 24.0)
(constant,) = (e for e in small.entries() if e.kind == "constant")
print(f"60 * 60 * 24 became the constant {constant.value}; ops left: {len(small.nodes)}")
assert constant.value == 86_400
assert len(small.nodes) == 1

# So do random numbers. `refnet.random.normal` needs nothing that waits: it draws as the line is
# written, and what it drew is a constant, the same in every run.

with refnet.Graph() as chance:
    z = refnet.placeholder((3,), name="z")
    noisy = z + refnet.random.normal((3,))
runs = [refnet.Session(chance).run(noisy, {z: np.zeros(3)}) for _ in range(2)]
print("Drawn once:", *runs)
assert np.array_equal(*runs)


# -- 4. A session runs a graph ---------------------------------------------------------------------
#
# "To compute anything, a graph must be launched in a session." You say what you want, the fetches,
# and what the placeholders are, the feeds. The session places the ops on a backend and runs them.

session = refnet.Session(line)
points = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0]])
result = session.run(y, feed_dict={x: points})
print("\nrun(y) =", result.tolist())
assert np.array_equal(result, points @ [[2.0], [-1.0]] + 0.5)

# Fetches may be names, lists and dicts; the result has the same form. So may the feeds be names.

found = session.run({"line": "line/y", "both": [w, b]}, {"x": points[:1]})
print("run({...}) =", {"line": found["line"].tolist(), "both": [v.tolist() for v in found["both"]]})
assert found["line"] == 2.5

# Only what is needed is computed. y does not need the target; the loss does, and says so:

try:
    session.run(loss, {x: points})
except NotReadyError as error:
    print(f"  {type(error).__name__}: {error}")
else:
    raise AssertionError("this should have failed")
assert np.isclose(session.run(loss, {x: points, target: result + 3.0}), 9.0)

# Any tensor may be fed, not placeholders alone. Then nobody asks how it would have been computed:

assert session.run(loss, {y: [[1.0], [2.0]], target: [[0.0], [0.0]]}) == 2.5  # (1² + 2²) / 2

# A session writes its work down as a small program, one line an operation, and runs that. `source`
# shows it, for some fetches and what is to be fed: v0, v1 ... are first the feeds, then the variables,
# then the results; each c is a constant. It gives back the memory of what nobody needs any more.

for fetch, fed in ((y, [x]), (loss, [x, target])):
    print(f"\nFor {fetch.name!r}:\n\n{session.source(fetch, fed)}")
assert session.source(y, [x]).count(" = ") == 2  # a product and a sum
assert "subtract" not in session.source(y, [x])
assert "subtract" in session.source(loss, [x, target])


# -- 5. Variables live in a session ----------------------------------------------------------------
#
# The graph says how a variable starts, and how it changes. What it is at the moment, the session
# knows. Two sessions, two lives:

with refnet.Graph() as counting:
    step = refnet.placeholder((), name="step")
    count = refnet.Variable(0.0, name="count")
    add = count.assign_add(step)  # an op that writes, when it is run

first, second = refnet.Session(counting), refnet.Session(counting)
for _ in range(3):
    first.run(add, {step: 1.0})
second.run(add, {step: 10.0})
print(f"\nThe count: {first.run(count)} in one session, {second.run(count)} in the other;")
print(f"a new session starts from {refnet.Session(counting).run(count)}.")
assert (first.run(count), second.run(count)) == (3.0, 10.0)
try:
    first.run(y, {x: points})
except GraphError as error:
    print(f"  {type(error).__name__}: {error}")
else:
    raise AssertionError("this should have failed")


# -- 6. The gradient of a graph is a graph ---------------------------------------------------------
#
# `gradients` walks back from the loss, as in lesson 2. Each step applies an operation to tensors that
# wait, so each becomes a node. Section 11 draws them: the graph once more, in reverse order.

before = len(line.nodes)
dw, db = refnet.gradients(loss, [w, b])
print(f"\n{before} ops, and {len(line.nodes) - before} more for the gradients:")
print("  " + "\n  ".join(node.symbol.name for node in line.nodes[before:]))
assert dw.shape == w.shape
assert dw.name.startswith("gradients/")

t = np.array([[1.0], [1.0], [1.0]])
gw, gb = session.run([dw, db], {x: points, target: t})
error = points @ [[2.0], [-1.0]] + 0.5 - t  # ∂L/∂w = (2/n) xᵀ (y - t), ∂L/∂b = (2/n) Σ (y - t)
print("∂L/∂w:", gw.ravel(), " ∂L/∂b:", gb)
assert np.allclose(gw, 2 / 3 * points.T @ error)
assert np.allclose(gb, 2 / 3 * error.sum())


# -- 7. Training is a graph too --------------------------------------------------------------------
#
# `minimize` adds what makes one step: the gradients, a count of the steps, the learning rate, and an
# op for each variable that overwrites it. To train is to run that again and again. Layers and losses
# are used as they are: they take placeholders.

with refnet.Graph() as graph:
    pixels = refnet.placeholder((None, 64), name="pixels")
    labels = refnet.placeholder((None,), "int64", name="labels")
    a = layers.Dense(32, activation="relu", name="hidden")(pixels)
    p = layers.Dense(10, activation="softmax", name="output")(a)
    with refnet.name_scope("loss"):
        loss = losses.sparse_categorical_crossentropy(labels, p).mean().named("mean")
    with refnet.name_scope("accuracy"):
        accuracy = (p.argmax(axis=1) == labels).astype("float32").mean().named("mean")
    train = optimizers.Adam(learning_rate=0.01).minimize(loss)

print("\n", graph, "\n", train, sep="")
for variable in graph.variables:
    kind = "trained" if variable.trainable else "the optimizer's"
    print(f"  {variable.name:26} {variable.shape!s:9} {kind}")
assert [v.name for v in graph.trainable_variables] == [
    "hidden/kernel", "hidden/bias", "output/kernel", "output/bias",
]  # fmt: skip

(x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
x_train, x_test = x_train.reshape(-1, 64), x_test.reshape(-1, 64)
test = {pixels: x_test, labels: y_test}

session = refnet.Session(graph)
before, guessing = session.run([loss, accuracy], test)
print(f"\n  epoch   loss    of the test digits right\n  {0:5}   {before:.3f}   {guessing:.1%}")
for epoch in range(1, EPOCHS + 1):
    order = refnet.random.permutation(len(x_train))
    for i in range(0, len(order), 32):
        batch = order[i : i + 32]
        session.run(train, {pixels: x_train[batch], labels: y_train[batch]})
    after, right = session.run([loss, accuracy], test)
    print(f"  {epoch:5}   {after:.3f}   {right:.1%}")
assert after < before / 2
assert right > 0.75
assert session.run("adam/iterations") == EPOCHS * 45  # 1438 digits make 45 batches

# The learning rate is a variable as well, so it may be changed on the way:

session.assign("adam/learning_rate", 0.001)
assert np.isclose(session.run("adam/learning_rate"), 0.001)

# Dropout draws at random too, but from a key that is a variable. `train` moves the key on; a run of
# anything else leaves it, and gets the same mask again:

with refnet.Graph() as dropping:
    z = refnet.placeholder((None, 8), name="z")
    kept = layers.Dropout(0.5, seed=1)(z, training=True)
    step = optimizers.SGD(0.1).minimize((layers.Dense(1)(kept) ** 2.0).mean())
masks, once = refnet.Session(dropping), {z: np.ones((1, 8))}
drawn = [masks.run(kept, once), masks.run(kept, once)]
masks.run(step, once)
drawn.append(masks.run(kept, once))
for mask, when in zip(drawn, ("the mask", "again", "after `train`"), strict=True):
    print(f"  {when:14} {mask[0]}")
assert np.array_equal(drawn[0], drawn[1])
assert not np.array_equal(drawn[0], drawn[2])


# -- 8. "The graph can be saved to be executed in the future" --------------------------------------
#
# The file holds the nodes, the edges, and the variables as this session has them. It holds no code:
# text and numbers, from which `Graph.load` makes the graph again; whatever knows the operations can
# run it, on whatever machine. Another process, which has never seen the lines above, gets the same
# bits:

p = p.named("probabilities")
path = graph.save(RUNS / "digits.refnet", session)
here = session.run(p, {pixels: x_test[:5]})

program = f"""
import refnet
from refnet import datasets
_, (x_test, _) = datasets.digits.load_data()
graph = refnet.Graph.load({str(path)!r})
p = refnet.Session(graph).run("probabilities", {{"pixels": x_test[:5].reshape(5, 64)}})
print(p.tobytes().hex())
"""
child = subprocess.run(
    [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
)
there = np.frombuffer(bytes.fromhex(child.stdout.strip()), "float32").reshape(5, 10)
print(f"\n{path}: {path.stat().st_size:,} bytes. Read in another process, it says of five digits:")
print("  there:", there.argmax(axis=1), " here:", here.argmax(axis=1), " truth:", y_test[:5])
assert there.tobytes() == here.tobytes()
print("The probabilities are the same to the last bit.")

# Training goes on from the file too, as if it had never stopped: Adam's memory is among the variables,
# and `train` among the groups. So is the learning rate, which section 7 has changed.

again = refnet.Session(refnet.Graph.load(path))
assert np.isclose(again.run("adam/learning_rate"), 0.001)
session.run(train, {pixels: x_train[:32], labels: y_train[:32]})
again.run("train", {"pixels": x_train[:32], "labels": y_train[:32]})
for name, value in session.values().items():
    assert value.tobytes() == again.values()[name].tobytes(), name


# -- 9. The same graph on another backend ----------------------------------------------------------
#
# A graph says what is computed, not where: it was made "to run on multiple CPUs or GPUs".
# `Session(graph, "triton")` runs it on Triton's kernels. And since the operations have names, both
# sides can be laid beside each other, one operation after the other: how far are the results apart,
# where does it begin, and is the operation itself within the error that its row in TABLE allows?
# "error / bound" is how far an operation is from the exact result, given the inputs that the other side
# had, divided by what its row allows it there: more than 1 is a fault. Without fetches, `compare`
# takes all operations but those that write, such as Adam's, since it must not change a variable.

feeds = {pixels: x_test[:32], labels: y_test[:32]}
try:
    there = refnet.Session(graph, "triton").run(p, feeds)
except RefnetError as error:
    print(f"\nTriton cannot run here: {error}\n`refnet doctor` says what to install.")
else:
    comparison = session.compare("triton", feed_dict=feeds)
    print(f"\n{comparison}")
    assert comparison.ok
    fresh = refnet.Session(graph).run(p, feeds)  # untrained, as the session on Triton
    assert np.allclose(there, fresh, rtol=1e-3, atol=1e-5)


# -- 10. "Multiple CPUs or GPUs" -------------------------------------------------------------------
#
# A session is one place. Several sessions, on as many processors or machines, can run one graph and
# share the work of a batch: each takes a part and finds the gradient of its mean loss. For parts of
# equal size, the mean of the gradients is the gradient of the whole. Here the workers are threads of
# this program, each with a session of its own; all start from the weights in the file.

shared = refnet.Graph.load(path)
found = refnet.gradients(shared["loss/mean"], shared.trainable_variables)
workers = [refnet.Session(shared) for _ in range(4)]


def work(number):
    part = slice(32 * number, 32 * (number + 1))
    return workers[number].run(found, {"pixels": x_train[part], "labels": y_train[part]})


with ThreadPoolExecutor(4) as pool:
    parts = list(pool.map(work, range(4)))
whole = workers[0].run(found, {"pixels": x_train[:128], "labels": y_train[:128]})
print("\nFour workers with 32 digits each, and one with all 128:")
for variable, *shares, g in zip(shared.trainable_variables, *parts, whole, strict=True):
    mean = np.mean(shares, axis=0)
    difference = np.abs(mean - g).max() / np.abs(g).max()
    print(f"  ∂L/∂{variable.name:14} differs by {difference:.1e} of its largest number")
    assert difference < 1e-5


# -- 11. Drawings ----------------------------------------------------------------------------------
#
# A graph draws itself: as Mermaid, which GitHub shows in a ```mermaid block, as DOT for Graphviz, and
# as a picture. `depth=1` draws each scope as one box, as TensorBoard does (lesson 4).

print(f"\n{small.to_mermaid()}")
assert "multiply" in small.to_dot()
(RUNS / "digits.dot").write_text(graph.to_dot(), "utf-8")
try:
    picture = plot.graph(line, RUNS / "line.png", None, "A line, its loss, and the gradients")
    print(f"Pictures: {picture}, {plot.graph(graph, RUNS / 'training.png', 1, 'A training step')}")
except MissingPackageError as error:
    print(f"No pictures: {error}")

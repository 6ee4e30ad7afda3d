"""Lesson 2: tensors.

What all data, weights and gradients are made of. You will make tensors, compute with them, pick out
parts of them and rearrange them; and see why a tensor knows where it came from.

    python tutorials/02_tensors.py

It needs NumPy alone. With PyTorch it also shows how the two share memory.
"""

import numpy as np

import refnet
from refnet import config, ops

refnet.utils.set_random_seed(0)  # so that you see the same numbers each time


# -- 1. What a tensor is ---------------------------------------------------------------------------
#
# In mathematics, a tensor "describes a multilinear relationship between sets of algebraic objects
# related to a vector space". The smallest example: a machine B that takes two vectors, gives a
# number, and is linear in each of them. Whoever chooses a basis can write B down as a table A of
# numbers, B(u, v) = uᵀ A v. With another basis the table is another one; B is the same.

A = refnet.tensor([[2.0, 1.0], [0.0, 3.0]])  # (2, 2)
u, v = refnet.tensor([[1.0], [2.0]]), refnet.tensor([[3.0], [-1.0]])  # two columns, (2, 1)
B = (u.T @ A @ v).item()
assert ((10 * u).T @ A @ v).item() == 10 * B  # linear in u
assert (u.T @ A @ (v + u)).item() == B + (u.T @ A @ u).item()  # linear in v

S = refnet.tensor([[1.0, 1.0], [0.0, 1.0]])  # another basis: its vectors are the columns
inverse = refnet.tensor([[1.0, -1.0], [0.0, 1.0]])
A2, u2, v2 = S.T @ A @ S, inverse @ u, inverse @ v  # table and vectors, written in that basis
print(f"B(u, v) is {B} with the table {A.numpy().tolist()},")
print(f"and {(u2.T @ A2 @ v2).item()} with the table {A2.numpy().tolist()} in another basis.")
assert (u2.T @ A2 @ v2).item() == B

# "Tensors are the standard way in which data is represented": programs mean the table. From here
# on, **a tensor is an array of numbers that remembers where it came from**. It has axes; the shape
# says how long each one is; all its numbers are of one type.

for what, x in (
    ("a number", refnet.tensor(7.0)),
    ("a vector", refnet.tensor([1.0, 2.0, 3.0])),
    ("a matrix", refnet.tensor([[1, 2, 3], [4, 5, 6]])),
    ("32 pictures in colour", refnet.zeros((32, 28, 28, 3))),
):
    print(f"  {what:22} axes: {x.ndim}   shape: {x.shape!s:16} type: {x.dtype:8} numbers: {x.size}")
    assert x.size == np.prod(x.shape)


# -- 2. Initialization of tensors ------------------------------------------------------------------

print("\nA tensor prints itself like this:", refnet.tensor([[1.0, 2.0], [3.0, 4.0]]), sep="\n")

made = {
    "zeros((2, 3))": refnet.zeros((2, 3)),
    "ones(4)": refnet.ones(4),
    "full((2, 2), 7.5)": refnet.full((2, 2), 7.5),
    "eye(3)": refnet.eye(3),
    "arange(2, 8, 2)": refnet.arange(2, 8, 2),  # from 2 up to but not including 8
    "linspace(0, 1, 5)": refnet.linspace(0, 1, 5),  # both ends are there
    "zeros_like(x)": refnet.zeros_like(refnet.tensor([1, 2])),
}
for how, x in made.items():
    print(f"  {how:18} {x.dtype:8} {x.numpy().tolist()}")
assert made["arange(2, 8, 2)"].numpy().tolist() == [2, 4, 6]
assert made["linspace(0, 1, 5)"].numpy().tolist() == [0, 0.25, 0.5, 0.75, 1]

# Weights start from random numbers. A computer's are not random: a formula turns a seed into them.
# The same seed, the same numbers. Without one, they follow from the seed set at the top.

a = refnet.random.normal((10_000,), mean=5.0, stddev=2.0, seed=1)
b = refnet.random.normal((10_000,), mean=5.0, stddev=2.0, seed=1)
c = refnet.random.uniform((10_000,), -1.0, 1.0)
print(f"\n10,000 of N(5, 2²): mean {a.mean().item():.3f}, deviation {a.std().item():.3f}")
print(f"10,000 between -1 and 1: from {c.min().item():.4f} to {c.max().item():.4f}")
assert np.array_equal(a, b)
assert abs(a.mean().item() - 5.0) < 3 * 2.0 / 100  # a mean of n numbers is off by about σ/√n
assert c.min().item() >= -1.0
assert c.max().item() < 1.0


# -- 3. Types --------------------------------------------------------------------------------------
#
# What Python calls a float becomes `config.floatx()`: float32, unless `set_floatx` was called. That
# is enough for learning, and half the memory of float64. Integers become int64. Arrays keep the
# type they have.

for text, x in (
    ("[1.0, 2.0]", refnet.tensor([1.0, 2.0])),
    ("[1, 2]", refnet.tensor([1, 2])),
    ("[True, False]", refnet.tensor([True, False])),
    ("np.array([1.0, 2.0])", refnet.tensor(np.array([1.0, 2.0]))),
    ("[1, 2], dtype='float32'", refnet.tensor([1, 2], dtype="float32")),
    ("[1, 2] + 0.5", refnet.tensor([1, 2]) + 0.5),
    ("[1.0, 2.0] + 1", refnet.tensor([1.0, 2.0]) + 1),
    ("[1, 2] / 2", refnet.tensor([1, 2]) / 2),
    ("int32 and float32", refnet.tensor([1, 2], dtype="int32") + refnet.tensor([0.5, 1.5])),
):
    print(f"  {text:24} {x.dtype}")
assert refnet.tensor([1.0]).dtype == config.floatx() == "float32"
assert (refnet.tensor([1, 2]) / 2).dtype == config.floatx()

# A plain number takes the type of the tensor it meets, and where integers become fractions, that is
# floatx. Two tensors meet in NumPy's type, the smallest that holds both: float32 cannot hold every
# int32, so the last line is float64. `astype` says what you want instead:

mixed = refnet.tensor([1, 2], dtype="int32").astype("float32") + refnet.tensor([0.5, 1.5])
assert mixed.dtype == "float32"

# What cannot be a tensor is an error that says so. All errors that refnet raises itself are a
# `RefnetError`; a file that is missing remains Python's own FileNotFoundError.

for wrong in ([[1, 2], [3]], "seven"):
    try:
        refnet.tensor(wrong)
    except refnet.errors.RefnetError as error:
        print(f"  {type(error).__name__}: {error}")
    else:
        raise AssertionError("this should have failed")


# -- 4. Mathematical operations --------------------------------------------------------------------
#
# Element by element:

x, y = refnet.tensor([1.0, 4.0, 9.0]), refnet.tensor([1.0, 2.0, 3.0])
print("\nx =", x.numpy(), " y =", y.numpy())
for text, z in (
    ("x + y", x + y),
    ("x - 1", x - 1),
    ("x * y", x * y),
    ("x / y", x / y),
    ("y ** 3", y**3),
    ("-x", -x),
    ("sqrt(x)", ops.sqrt(x)),
    ("maximum(x, 5)", ops.maximum(x, 5.0)),
    ("x > y", x > y),
    ("(x > 1) & (x < 9)", (x > 1) & (x < 9)),
    ("where(x > 2, x, 0)", ops.where(x > 2, x, 0.0)),
):
    print(f"  {text:19} {z.numpy()}")
assert np.array_equal(ops.sqrt(x), y)
assert np.array_equal((x > 1) & (x < 9), [False, True, False])

# Broadcasting: an axis of length 1, or one that is missing in front, is repeated to fit. A column
# beside a row makes a table:

column = refnet.tensor([[1], [2], [3]])  # (3, 1)
row = refnet.tensor([1, 2, 3, 4])  # (4,), counts as (1, 4)
table = column * row  # (3, 4)
print("\n(3, 1) times (4,) is", table.shape, table.numpy(), sep="\n")
assert table.numpy()[2, 3] == 12
try:
    row + refnet.tensor([1, 2, 3])
except refnet.errors.ShapeError as error:
    print(f"But 4 beside 3 is a {type(error).__name__}: {error}")
else:
    raise AssertionError("this should have failed")

# The product of matrices, C_ij = Σ_k A_ik B_kj, is what networks spend their time on. It joins rows
# to columns, so the inner lengths have to agree, (m, k) times (k, n), and the order counts:

P, Q = refnet.tensor([[1.0, 2.0], [3.0, 4.0]]), refnet.tensor([[0.0, 1.0], [1.0, 0.0]])
print("\nP Q =", (P @ Q).numpy().tolist(), " Q P =", (Q @ P).numpy().tolist())
assert np.array_equal(P @ Q, [[2, 1], [4, 3]])  # swaps columns
assert np.array_equal(Q @ P, [[3, 4], [1, 2]])  # swaps rows

# Reductions make one number of many, along the axes you name, or along all of them:

M = refnet.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
for text, z in (
    ("sum()", M.sum()),
    ("sum(axis=0)", M.sum(axis=0)),
    ("sum(axis=1)", M.sum(axis=1)),
    ("sum(axis=1, keepdims)", M.sum(axis=1, keepdims=True)),
    ("mean(axis=1)", M.mean(axis=1)),
    ("max(axis=0)", M.max(axis=0)),
    ("argmax(axis=1)", M.argmax(axis=1)),
):
    print(f"  M.{text:22} shape {z.shape!s:7} {z.numpy().tolist()}")
shares = M / M.sum(axis=1, keepdims=True)  # keepdims: so that it broadcasts against M
assert np.allclose(shares.sum(axis=1), 1.0)


# -- 5. Numbers are rounded ------------------------------------------------------------------------
#
# float32 keeps 24 binary digits, about 7 decimal ones. 0.1 is not among the numbers it has:

print(f"\n0.1 in float32 is {refnet.tensor(0.1).item():.20f}")
tenth = refnet.tensor(0.1)
total = refnet.tensor(0.0)
for _ in range(10):
    total = total + tenth
print(f"Ten of them are {total.item():.10f}: every addition rounds.")
assert total.item() != 1.0
assert np.isclose(total, 1.0)

# 0.1 + 0.2 == 0.3 is famous for being false. In float64 it is; in float32 the errors happen to
# cancel. Do not ask floats whether they are equal: ask whether they are close.

for dtype in ("float32", "float64"):
    one, two, three = (refnet.tensor(n, dtype) for n in (0.1, 0.2, 0.3))
    print(f"  0.1 + 0.2 == 0.3 in {dtype}: {bool(one + two == three)}")
    assert np.isclose(one + two, three)

# The order of a sum matters, because a small number beside a large one is lost:

big, small = refnet.tensor(1e8), refnet.tensor(1.0)
print(f"  (1e8 + 1) - 1e8 = {((big + small) - big).item()}")
print(f"  (1e8 - 1e8) + 1 = {((big - big) + small).item()}")
assert ((big + small) - big).item() == 0.0

# That is why two right programs may differ in the last digits, and why refnet's tests derive for
# each operation how large that difference may be.


# -- 6. Indexing -----------------------------------------------------------------------------------
#
# As in NumPy. Positions count from 0, negative ones from the end, and the end of a slice is left out.

x = refnet.arange(10, 70, 10)  # 10 20 30 40 50 60
M = refnet.arange(12).reshape(3, 4)
print("\nx =", x.numpy(), " M =", M.numpy().tolist())
rows, columns = np.array([0, 2]), np.array([3, 1])
for text, z in (
    ("x[0]", x[0]),
    ("x[-1]", x[-1]),
    ("x[1:4]", x[1:4]),
    ("x[::2]", x[::2]),
    ("x[::-1]", x[::-1]),
    ("M[1]", M[1]),
    ("M[1, 2]", M[1, 2]),
    ("M[:, 0]", M[:, 0]),
    ("M[::-1, 1:3]", M[::-1, 1:3]),
    ("M[..., -1]", M[..., -1]),  # ... stands for all axes that are not named
    ("x[:, None]", x[:, None]),  # a new axis of length 1
    ("x[x > 25]", x[x > 25]),  # a mask: where it is true
    ("x[[4, 0, 0]]", x[[4, 0, 0]]),  # positions, in any order, as often as you like
    ("M[rows, columns]", M[rows, columns]),  # M[0, 3] and M[2, 1]
    ("M[rows]", M[rows]),
):
    print(f"  {text:17} shape {z.shape!s:7} {z.numpy().tolist()}")
assert x[::-1].numpy().tolist() == [60, 50, 40, 30, 20, 10]
assert M[::-1, 1:3].numpy().tolist() == [[9, 10], [5, 6], [1, 2]]
assert x[x > 25].numpy().tolist() == [30, 40, 50, 60]
assert M[rows, columns].numpy().tolist() == [3, 9]

# This picks each example's probability of its right answer, as the cross-entropy does:

p = refnet.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
labels = refnet.tensor([0, 2])
print("\nThe probabilities of the right answers:", p[refnet.arange(2), labels].numpy())
assert np.allclose(p[refnet.arange(2), labels], [0.7, 0.4])

# Reading makes a new tensor; writing into one is refused, because what was computed from it would no
# longer be true. `where` makes the changed one; what is meant to change is a Variable (section 9).

try:
    x[0] = 99
except refnet.errors.ArgumentError as error:
    print(f"x[0] = 99: {error}")
else:
    raise AssertionError("this should have failed")


# -- 7. Reshaping ----------------------------------------------------------------------------------
#
# The same numbers in the same order, read as another shape. -1 is worked out from the others.

x = refnet.arange(6)
image = refnet.zeros((1, 28, 28, 1))
for text, z in (
    ("x.reshape(2, 3)", x.reshape(2, 3)),
    ("x.reshape(3, -1)", x.reshape(3, -1)),
    ("x.reshape(2, 3).flatten()", x.reshape(2, 3).flatten()),
    ("x.reshape(2, 3).T", x.reshape(2, 3).T),
    ("concatenate(x, x)", ops.concatenate(x, x)),
    ("stack(x, x)", ops.stack(x, x)),
    ("x.split(3)[1]", x.split(3)[1]),
):
    print(f"  {text:26} shape {z.shape!s:7} {z.numpy().tolist()}")
print(f"  {image.shape} squeezed: {image.squeeze().shape}")
assert ops.concatenate(x, x).shape == (12,)  # along an axis that is there
assert ops.stack(x, x).shape == (2, 6)  # along a new one
assert image.squeeze().shape == (28, 28)  # axes of length 1 go away
assert image[0].expand_dims(0).shape == image.shape
assert image.transpose(0, 3, 1, 2).shape == (1, 1, 28, 28)  # pictures with the colours first

# A transpose is not a reshape, though both may make (3, 2) out of (2, 3):

T, R = x.reshape(2, 3).T, x.reshape(2, 3).reshape(3, 2)
print("\nTransposed:", T.numpy().tolist(), " reshaped:", R.numpy().tolist())
assert T.shape == R.shape
assert not np.array_equal(T, R)


# -- 8. To NumPy and other libraries, and back -----------------------------------------------------

x = refnet.tensor([1.5, 2.5])
print(f"\n{x!r}\n  as an array: {x.numpy()!r}, its first as a number: {x[0].item()!r}")
assert isinstance(x.numpy(), np.ndarray)  # copy it before you write into it: it may be x's memory
assert np.array_equal(np.asarray(x), x.numpy())  # np.asarray and np.array take tensors
assert type(x[0].item()) is float
assert [z.item() for z in x] == [1.5, 2.5]
assert int(refnet.tensor(3)) == 3

# NumPy's mathematics takes them too. Where there is an op of that name, the result is a tensor, which
# remembers where it came from. Where there is none, it would have forgotten: hand over x.numpy().

assert isinstance(np.sqrt(x), refnet.Tensor)
assert np.array_equal(np.sqrt(x), np.sqrt(x.numpy()))
try:
    np.cumsum(x)
except TypeError as error:
    print(f"  np.cumsum(x): {type(error).__name__}: {error}")
else:
    raise AssertionError("this should have failed")

# `tensor(array)` copies. `from_dlpack` does not: DLPack is how libraries lend each other memory, so
# what is written on one side is seen on the other.

array = np.array([1.0, 2.0, 3.0])
copied, shared = refnet.tensor(array), refnet.from_dlpack(array)
array[0] = 100.0
print(f"Copied: {copied.numpy()}, shared: {shared.numpy()}")
assert copied[0].item() == 1.0
assert shared[0].item() == 100.0
assert np.shares_memory(np.from_dlpack(shared), array)

try:
    import torch
except ImportError:
    print("PyTorch is not installed: nothing to share memory with.")
else:
    theirs = torch.arange(3.0)
    ours = refnet.from_dlpack(theirs)
    theirs[0] = 100.0
    print(f"Memory of PyTorch, seen from here: {ours.numpy()}; and back: {torch.from_dlpack(ours)}")
    assert ours[0].item() == 100.0
    assert torch.from_dlpack(ours).data_ptr() == theirs.data_ptr()


# -- 9. Variables ----------------------------------------------------------------------------------
#
# A tensor stays as it is. A Variable is a tensor whose value is overwritten: a weight, a counter. It
# keeps its shape and its type. Reading makes a new tensor, or a new array: it shows what was there when
# it was read.

w = refnet.Variable([1.0, 2.0], name="w")
print("\n", w, sep="")
backwards, array = w[::-1], w.numpy()
w.assign([10.0, 20.0])
print(f"Read before: {backwards.numpy()}, {array}; read now: {w.numpy()}")
assert backwards.tolist() == [2.0, 1.0] and array.tolist() == [1.0, 2.0]
w.assign_add([1.0, 1.0])
w.assign_sub(0.5 * w)
print(w)
assert w.numpy().tolist() == [5.5, 10.5]
try:
    w.assign([1.0, 2.0, 3.0])
except refnet.errors.ShapeError as error:
    print(f"  {error}")
else:
    raise AssertionError("this should have failed")


# -- 10. A tensor knows where it came from ---------------------------------------------------------
#
# Each result keeps the operation that made it and the tensors that went in. Follow them back:


def history(t, depth=0):
    made = f"{t.node.op.name}: {t.node.op.formula}" if t.node else f"given: {t.name}"
    print(f"  {'    ' * depth}{t.numpy():<{20 - 4 * depth}} {made}")
    for x in t.node.inputs if t.node else ():
        history(x, depth + 1)


x = refnet.tensor(3.0, name="x")
w, b = refnet.Variable(2.0, name="w"), refnet.Variable(1.0, name="b")
y = ops.square(w * x + b)
print("\ny = (w x + b)²:")
history(y)
assert y.node.op.name == "square"
assert y.node.inputs[0].node.inputs[1] is b
assert x.node is None

# That record is all that back-propagation needs. The chain rule, one operation at a time from y back
# to what was given, finds the gradients:
#
#     z = w x + b     y = z²     ∂y/∂w = 2z · x     ∂y/∂b = 2z     ∂y/∂x = 2z · w

y.backward()  # leaves them in .grad
print("∂y/∂w, ∂y/∂b, ∂y/∂x =", *(t.grad.item() for t in (w, b, x)))
z = 3.0 * 2.0 + 1.0
assert [w.grad.item(), b.grad.item(), x.grad.item()] == [2 * z * 3.0, 2 * z, 2 * z * 2.0]

# `refnet.gradients` hands them back, for any tensors you name. Where y does not depend on one, there
# is no gradient: None.

other = refnet.Variable(0.0)
dw, db, nothing = refnet.gradients(y, [w, b, other])
assert (dw.item(), db.item(), nothing) == (w.grad.item(), b.grad.item(), None)

# Is it true? Nudge w and look, in float64, where a small nudge is not lost in the rounding:


def y_at(w):
    return (w * np.float64(3.0) + 1.0) ** 2


slope = (y_at(2.0 + 1e-5) - y_at(2.0 - 1e-5)) / 2e-5
print(f"∂y/∂w by nudging: {slope:.6f}")
assert np.isclose(slope, dw.item())

# It goes through everything above. What was picked gets a gradient, the rest 0; what was picked
# twice, or broadcast, gets the sum over its copies.

x = refnet.tensor([1.0, 2.0, 3.0, 4.0])
for text, of in (
    ("x[1:3].sum()", x[1:3].sum()),
    ("x[[0, 0, 3]].sum()", x[[0, 0, 3]].sum()),
    ("x[x > 2].sum()", x[x > 2].sum()),
    ("x.max()", x.max()),
    ("(x * column).sum()", (x * refnet.tensor([[1.0], [2.0]])).sum()),
):
    print(f"  ∂ {text:19} / ∂x = {refnet.gradients(of, x).numpy()}")
assert refnet.gradients(x[[0, 0, 3]].sum(), x).numpy().tolist() == [2, 0, 0, 1]
assert refnet.gradients((x * refnet.tensor([[1.0], [2.0]])).sum(), x).numpy().tolist() == [3] * 4

# Everything here was computed at once, because every number was known. Lesson 3 writes computations
# down first and runs them later.

"""Shapes under windows: against a count of the windows, and on two ops that the rules were made for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import refnet
from refnet.errors import RefnetError, ShapeError
from refnet.layers import Dense, Flatten, Layer
from refnet.op import TABLE, op
from refnet.op.shapes import Spec, moved_back
from refnet.op.windows import convolved, output_length, padding_widths, per_axis, pooled

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_the_length_is_how_often_a_window_fits(padding):
    """Against windows that are laid one after the other, on an axis with what is padded around it."""
    for n, w, s, d in itertools.product(range(1, 9), range(1, 5), range(1, 5), range(1, 4)):
        before, after = padding_widths(n, w, s, padding, d)
        covered = d * (w - 1) + 1
        starts = range(-before, n + after - covered + 1, s)
        if padding == "valid" and covered > n:
            with pytest.raises(ShapeError, match=f"covers {covered} elements does not fit in {n}"):
                output_length(n, w, s, padding, d)
            continue
        assert output_length(n, w, s, padding, d) == len(starts)
        if padding == "same":
            assert len(starts) == -(-n // s)
            assert after - before in (0, 1)


def test_an_open_length_stays_open():
    assert output_length(None, 3, 2, "same") is None


def _windows(x, window, strides, padding, fill):
    """(batch, lengths ..., channels) as (batch, out ..., channels, window ...), and what was padded."""
    moves = per_axis("strides", strides, len(window))
    pads = [
        padding_widths(n, w, s, padding)
        for n, w, s in zip(x.shape[1:-1], window, moves, strict=True)
    ]
    around = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=fill)
    axes = tuple(range(1, x.ndim - 1))
    seen = sliding_window_view(around, window, axes)
    return seen[(slice(None), *[slice(None, None, s) for s in moves])], pads, moves


def _put_back(parts, x_shape, window, pads, moves):
    """The sum of windows, each where it was taken from: (batch, out ..., channels, window ...)."""
    padded = [n + sum(p) for n, p in zip(x_shape[1:-1], pads, strict=True)]
    total = np.zeros((x_shape[0], *padded, x_shape[-1]), parts.dtype)
    axes, out = len(window), parts.shape[1 : 1 + len(window)]
    for at in itertools.product(*map(range, window)):
        place = tuple(
            slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(at, out, moves, strict=True)
        )
        total[(slice(None), *place)] += parts[(slice(None),) * (axes + 2) + at]
    inner = [slice(p[0], p[0] + n) for p, n in zip(pads, x_shape[1:-1], strict=True)]
    return total[(slice(None), *inner)]


@pytest.fixture(scope="module")
def ops():
    """A pooling and a convolution, in the table as long as these tests run."""
    before = dict(TABLE)

    @op(saves="x", shape=pooled)
    def tried_pool(x, pool_size=2, strides=None, padding="valid"):
        window = per_axis("pool_size", pool_size, x.ndim - 2)
        fill = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        seen, _, _ = _windows(x, window, strides or window, padding, fill)
        return seen.max(axis=tuple(range(-len(window), 0)))

    @tried_pool.vjp(shape=moved_back)
    def tried_pool_vjp(g, x, pool_size=2, strides=None, padding="valid"):
        window = per_axis("pool_size", pool_size, x.ndim - 2)
        seen, pads, moves = _windows(x, window, strides or window, padding, -np.inf)
        largest = seen.max(axis=tuple(range(-len(window), 0)), keepdims=True)
        parts = np.where(seen == largest, g.reshape(g.shape + (1,) * len(window)), 0)
        return _put_back(parts, x.shape, window, pads, moves).astype(g.dtype)

    @op(saves="x kernel", shape=convolved)
    def tried_conv(x, kernel, strides=1, padding="valid"):
        window = kernel.shape[:-2]
        seen, _, _ = _windows(x, window, strides, padding, 0)
        axes = [*range(-len(window), 0), seen.ndim - len(window) - 1]
        return np.tensordot(seen, kernel, (axes, range(len(window) + 1)))

    @tried_conv.vjp(shape=moved_back)
    def tried_conv_vjp(g, x, kernel, strides=1, padding="valid"):
        window = kernel.shape[:-2]
        seen, pads, moves = _windows(x, window, strides, padding, 0)
        parts = np.moveaxis(np.tensordot(g, kernel, (-1, -1)), -1, g.ndim - 1)
        dx = _put_back(parts, x.shape, window, pads, moves)
        axes = range(g.ndim - 1)
        dkernel = np.moveaxis(np.tensordot(seen, g, (axes, axes)), 0, -2)
        return dx.astype(g.dtype), dkernel.astype(g.dtype)

    yield {"pool": tried_pool, "conv": tried_conv}
    TABLE.clear()
    TABLE.update(before)


def settings():
    for axes in (1, 2, 3):
        for padding, strides in itertools.product(("valid", "same"), (1, 2, 3)):
            yield (7, 6, 5)[:axes], padding, strides


each = pytest.mark.parametrize(("lengths", "padding", "strides"), [*settings()])


@each
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_what_is_promised_comes(ops, lengths, padding, strides, dtype):
    """Shape and type, in a graph whose batch is open, as in the computation."""
    x = RNG.normal(0, 1, (4, *lengths, 3)).astype(dtype)
    kernel = RNG.normal(0, 1, (*[3, 2, 2][: len(lengths)], 3, 5)).astype(dtype)
    options = {"strides": strides, "padding": padding}
    for made in (
        lambda x: ops["pool"](x, pool_size=3, **options),
        lambda x: ops["conv"](x, kernel, **options),
    ):
        with refnet.Graph() as graph:
            waiting = refnet.placeholder((None, *lengths, 3), dtype)
            y = made(waiting)
        now = made(refnet.tensor(x))
        assert y.shape == (None, *now.shape[1:])
        assert y.dtype == now.dtype == dtype
        assert np.array_equal(refnet.Session(graph).run(y, {waiting: x}), now.numpy())
        assert made(x).shape == now.shape


@each
def test_gradients(ops, lengths, padding, strides):
    """Of random sums of the results, against differences in float64."""
    x = refnet.Variable(RNG.normal(0, 1, (2, *lengths, 2)))
    kernel = refnet.Variable(RNG.normal(0, 1, (*[3, 2, 2][: len(lengths)], 2, 3)))
    options = {"strides": strides, "padding": padding}
    for made, variables in (
        (lambda: ops["pool"](x, pool_size=2, **options), [x]),
        (lambda: ops["conv"](x, kernel, **options), [x, kernel]),
    ):
        weights = RNG.normal(0, 1, made().shape)
        for variable, g in zip(
            variables, refnet.gradients((made() * weights).sum(), variables), strict=True
        ):
            assert g.shape == variable.shape
            value = variable.numpy().copy()
            for at in [tuple(RNG.integers(0, n) for n in value.shape) for _ in range(4)]:
                moved = []
                for change in (1e-6, -1e-6):
                    other = value.copy()
                    other[at] += change
                    variable.assign(other)
                    moved.append(float((made() * weights).sum()))
                variable.assign(value)
                slope = (moved[0] - moved[1]) / 2e-6
                assert g.numpy()[at] == pytest.approx(slope, rel=1e-5, abs=1e-7)


class Convolution(Layer):
    def __init__(self, convolve, pool, **common):
        super().__init__(**common)
        self.convolve, self.pool = convolve, pool

    def make_weights(self, input_shape):
        self.kernel = self.add_weight((3, 3, input_shape[-1], 4), name="kernel")

    def call(self, x):
        return self.pool(self.convolve(x, self.kernel, padding="same"), pool_size=(2, 1))

    def compute_output_shape(self, input_shape):
        batch, *lengths, channels = input_shape
        kernel = Spec((3, 3, channels, 4), "float32")
        options = {"padding": "same"}
        (y,) = self.convolve.infer([Spec((batch, *lengths, channels), "float32"), kernel], options)
        (y,) = self.pool.infer([y], {"pool_size": (2, 1)})
        return y.shape


def test_a_network_of_windows_learns(ops):
    """In `fit`, recorded and planned: where the brighter half of a picture is."""
    x = RNG.uniform(0, 1, (80, 2, 3, 6, 1)).astype("float32")
    y = RNG.integers(0, 2, 80)
    x[np.arange(80), y] += 0.3
    x = x.reshape(80, 6, 6, 1)
    layer = Convolution(ops["conv"], ops["pool"])
    refnet.utils.set_random_seed(0)
    model = refnet.Sequential([layer, Flatten(), Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    log = model.fit(x, y, epochs=60, batch_size=20, verbose=0).history
    assert model.output_shape == (None, 2)
    assert layer.compute_output_shape((None, 6, 6, 1)) == (None, 3, 6, 4)
    assert log["accuracy"][-1] > 0.9 > log["accuracy"][0]


@pytest.mark.parametrize(
    ("name", "shapes", "attributes", "complaint"),
    [
        ("pool", [(2, 3)], {}, "windows slide over"),
        ("pool", [(2, 3, 1)], {"pool_size": 4}, "covers 4 elements does not fit in 3"),
        ("pool", [(2, 3, 1)], {"pool_size": (2, 2)}, "pool_size is a number of at least 1, or 1"),
        ("pool", [(2, 3, 1)], {"pool_size": 0}, "pool_size is a number of at least 1"),
        ("pool", [(2, 3, 1)], {"strides": 0}, "strides is a number of at least 1"),
        ("pool", [(2, 3, 1)], {"padding": "full"}, "padding is one of valid, same, got 'full'"),
        ("conv", [(2, 5, 3), (2, 4, 6)], {}, "3 channels and the filters"),
        ("conv", [(2, 5, 3), (2, 2, 3, 6)], {}, "it needs a kernel of 1 windows"),
        ("conv", [(2, 5, 5, 3), (2, 3, 6)], {}, "it needs a kernel of 2 windows"),
        ("conv", [(2, 5, 3), (6, 3, 6)], {}, "covers 6 elements does not fit in 5"),
    ],
)
def test_what_does_not_fit_is_named(ops, name, shapes, attributes, complaint):
    arrays = [np.zeros(shape, "float32") for shape in shapes]
    for given in (arrays, [refnet.tensor(a) for a in arrays]):
        with pytest.raises(RefnetError, match=f"tried_{name}: .*{complaint}"):
            ops[name](*given, **attributes)
    with pytest.raises(ShapeError, match=complaint):
        ops[name].infer([Spec(shape, "float32") for shape in shapes], attributes)

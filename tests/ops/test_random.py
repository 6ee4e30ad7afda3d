"""Random numbers as a function of their key: known answers, distribution, the same everywhere."""

import numpy as np
import pytest

import refnet
from refnet import backend as backends
from refnet.base.dtypes import FORMATS, spacing
from refnet.errors import ArgumentError
from refnet.initializers import RandomUniform
from refnet.op import TABLE
from refnet.ops.random import philox

BITS, UNIFORM, NORMAL, DROPOUT = (
    TABLE[name] for name in ("random_bits", "random_uniform", "random_normal", "dropout")
)
KEYS = [np.array(key) for key in ((0, 0), (1, 2), (2**32 - 1, 2**32 - 1), (20_240_229, 7))]


def philox_4x32_10(counter, key):
    """The generator of Salmon et al. (2011) again, on Python integers and four counter words."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


ONES = 0xFFFFFFFF
#: from Random123's kat_vectors: the last line is made of the digits of π
PUBLISHED = {
    ((0, 0, 0, 0), (0, 0)): (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ((ONES,) * 4, (ONES,) * 2): (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)): (
        0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("counter", "key"), PUBLISHED)
def test_the_check_itself_gives_the_published_words(counter, key):
    assert philox_4x32_10(counter, key) == PUBLISHED[counter, key]


def test_philox_gives_the_published_words():
    assert tuple(philox([0], (0, 0))[0]) == PUBLISHED[(0,) * 4, (0, 0)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_philox_agrees_with_the_check(key):
    counters = [0, 1, 2, 2**32 - 1, 2**32, 2**40 + 3, 2**64 - 1]
    words = philox(np.array(counters, np.uint64), key)
    for counter, found in zip(counters, words, strict=True):
        halves = (counter % 2**32, counter >> 32, 0, 0)
        assert tuple(found) == philox_4x32_10(halves, key.tolist())


def test_bits_are_the_words_in_order():
    bits = BITS(KEYS[1], shape=(3, 3))
    expected = [word for counter in range(3) for word in philox_4x32_10((counter, 0, 0, 0), (1, 2))]
    assert bits.dtype == np.int64
    assert bits.reshape(-1).tolist() == expected[:9]


@pytest.mark.parametrize("op", [BITS, UNIFORM, NORMAL], ids=lambda op: op.name)
def test_a_shorter_stream_is_a_prefix_of_a_longer_one(op):
    long = op(KEYS[3], shape=(1000,))
    for count in (0, 1, 2, 3, 4, 5, 499, 999):
        assert op(KEYS[3], shape=(count,)).tobytes() == long[:count].tobytes()
    assert op(KEYS[3], shape=(10, 100)).tobytes() == long.tobytes()


N = 100_000


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_uniform_numbers_are_uniform(key):
    u = UNIFORM(key, shape=(N,))
    assert u.dtype == np.float32 and u.min() >= 0 and u.max() < 1
    assert np.array_equal(u, np.floor(u * 2**24) / 2**24)
    counts = np.bincount((u * 16).astype(int), minlength=16)
    chi_square = np.sum((counts - N / 16) ** 2 / (N / 16))
    assert chi_square < 37.7  # 15 degrees of freedom: exceeded once in 1000 keys
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / N**0.5


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_normal_numbers_are_normal(key):
    z = NORMAL(key, shape=(N,), dtype="float64")
    assert z.dtype == np.float64
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - moment) < 4 * (variance / N) ** 0.5
    assert abs(np.corrcoef(z[::2], z[1::2])[0, 1]) < 4 / (N / 2) ** 0.5


def test_mean_deviation_and_range():
    key = KEYS[1]
    z = NORMAL(key, shape=(9,), mean=5.0, stddev=2.0)
    np.testing.assert_allclose(z, 5 + 2 * NORMAL(key, shape=(9,)), rtol=1e-6)
    u = UNIFORM(key, shape=(N,), minimum=-3.0, maximum=1.0)
    assert -3 <= u.min() < -2.99 and 0.99 < u.max() < 1
    assert abs(u.mean() + 1) < 4 * 4 / (12 * N) ** 0.5


def test_other_keys_give_other_numbers():
    streams = [UNIFORM(np.array(key), shape=(N,)) for key in ((5, 0), (5, 1), (6, 0))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(streams[i], streams[j])[0, 1]) < 4 / N**0.5


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    ones = np.ones(N, "float32")
    y = DROPOUT(ones, KEYS[1], rate=rate)
    assert set(np.unique(y)) <= {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    assert abs(np.mean(y == 0) - rate) <= 4 * (rate * (1 - rate) / N) ** 0.5
    assert y.dtype == np.float32


def test_dropout_sends_the_gradient_through_the_same_mask(backend):
    ones, key = backend.array(np.ones((37, 29), "float32")), backend.array(KEYS[1])
    forward, backward = (backend.function(op) for op in (DROPOUT, DROPOUT.gradient))
    y, dx = (backend.numpy(f(ones, key, rate=0.3)) for f in (forward, backward))
    assert y.tobytes() == dx.tobytes()
    assert 0 < np.mean(y == 0) < 1


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("op", [BITS, UNIFORM], ids=lambda op: op.name)
def test_the_same_bits_on_every_backend(op, key, backend):
    for shape in ((), (5,), (4097,), (3, 7)):
        found = backend.numpy(backend.function(op)(backend.array(key), shape=shape))
        expected = np.asarray(backends.get("numpy").function(op)(key, shape=shape))
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


# -- half-open intervals ---------------------------------------------------------------------------

#: what is large beside its width, what ends next to a power of two, and ends that no float holds
LARGE = [(100, 101), (-101, -100), (1000, 1003), (-8, -4), (0.1, 0.7), (-0.7, -0.1), (2048, 2056)]
KINDS = [
    *(("numpy", dtype) for dtype in ("float16", "float32", "float64")),
    *(pytest.param("triton", dtype, marks=pytest.mark.triton) for dtype in FORMATS),
]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
@pytest.mark.parametrize("interval", LARGE, ids=str)
def test_the_maximum_is_not_drawn_and_nothing_below_the_minimum(interval, name, dtype):
    low, high = interval
    backend = backends.get(name)
    draw, key = backend.function(UNIFORM), backend.array(KEYS[3])
    x = draw(key, shape=(200_000,), minimum=low, maximum=high, dtype=dtype)
    assert backend.dtype(x) == dtype
    x = np.asarray(backend.numpy(x), "float64")
    assert low <= x.min() and x.max() < high
    step = spacing(max(map(abs, interval)), dtype)
    near = step + (high - low) * 1e-3
    assert x.min() - low <= near and high - x.max() <= near


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("interval", LARGE, ids=str)
def test_the_largest_word_gives_less_than_the_maximum(interval, dtype, monkeypatch):
    ends = np.array([0, 255, 256, 2**32 - 257, 2**32 - 256, 2**32 - 1], np.uint32)
    monkeypatch.setattr("refnet.ops.random.words", lambda key, count: ends[:count])
    low, high = interval
    x = UNIFORM(KEYS[0], shape=ends.shape, minimum=low, maximum=high, dtype=dtype)
    assert x.dtype == dtype and np.all((x.astype("float64") >= low) & (x.astype("float64") < high))
    assert np.all(np.diff(x.astype("float64")) >= 0)


@pytest.mark.triton
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("interval", LARGE, ids=str)
def test_any_interval_has_the_same_bits_on_both_backends(interval, dtype):
    given = {"shape": (50_000,), "minimum": interval[0], "maximum": interval[1], "dtype": dtype}
    for key in KEYS:
        found = [
            side.numpy(side.function(UNIFORM)(side.array(key), **given)).tobytes()
            for side in map(backends.get, ("numpy", "triton"))
        ]
        assert found[0] == found[1]


def test_an_interval_without_width_is_one_number(backend):
    x = backend.function(UNIFORM)(backend.array(KEYS[0]), shape=(3,), minimum=2.5, maximum=2.5)
    assert backend.numpy(x).tolist() == [2.5] * 3


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (1, 0, "float32"),
        (0.1, 0.1 + 1e-12, "float32"),
        (0, np.inf, "float32"),
        (np.nan, 1, "float64"),
        (0, 70_000, "float16"),
        (-3e38, 3e38, "float32"),
    ],
)
def test_an_interval_without_numbers_is_refused(low, high, dtype, backend):
    draw = backend.function(UNIFORM)
    with pytest.raises(ArgumentError, match=rf"where {dtype} has numbers: got "):
        draw(backend.array(KEYS[0]), shape=(3,), minimum=low, maximum=high, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_and_weights_stay_below_the_maximum(dtype):
    for seed in range(3):
        x = refnet.random.uniform(50_000, 100, 101, dtype=dtype, seed=seed).numpy()
        w = RandomUniform(100, 101, seed=seed)((250, 200), dtype)
        for drawn in (x, w):
            assert drawn.dtype == dtype and drawn.min() >= 100 and drawn.max() < 101

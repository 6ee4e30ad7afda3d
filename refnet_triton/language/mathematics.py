"""Elementary functions for kernels: accurate everywhere, short, and the same on every device.

Triton's own functions will not do. On NVIDIA, tl.exp(x) in float32 is ``ex2.approx(x · log2 e)``:
the rounding of that product alone makes the result wrong by up to 1.17·|x| units in the last place
(ULP; CUDA Programming Guide, __expf). tl.sqrt and the operator / are approximations too. tl.log is
good when compiled, but wrong by 3 ULP when interpreted. And there is no tanh, expm1 or log1p that
runs in both.

So each function here does what a good C library does, in three steps:

1. *Reduce* the argument to a small interval, exactly: x = k·ln 2 + r with |r| ≤ ln 2 / 2 for exp.
   ln 2 is split into a short leading part, so that k times it is exact, and a remainder (Cody &
   Waite, 1980).
2. *Evaluate* a polynomial there. Horner's rule, one fused multiply-add per coefficient.
3. *Put the power of two back* through the exponent bits of the result.

The coefficients interpolate the function at the Chebyshev nodes of the interval, solved in 200-bit
arithmetic with mpmath and then rounded. The polynomials' own error stays below 0.2 ULP everywhere.

Bounds are given as ULP in float32 / float64; `test_mathematics.py` holds them. "Instructions"
are those of one float32 element on sm_90, counted in its machine code; a bfloat16 kernel on an H200
has time for about 27 before it stops being limited by memory. Arguments are float32 or float64:
widen 16-bit numbers first (`device.widen`).
"""

from __future__ import annotations

from refnet_triton.runtime import device  # noqa: F401  first: it chooses between compiling and interpreting

# isort: split
import triton
import triton.language as tl

# Numbers stand in the formulas as literals, not as named globals: at every launch, Triton compares
# each global that a kernel uses with its value when the kernel was compiled.


@triton.jit
def _require_float(x):
    tl.static_assert(
        x.dtype == tl.float32 or x.dtype == tl.float64, "expects float32 or float64 numbers"
    )


@triton.jit
def maximum(x, y):
    """max(x, y); NaN if either is NaN, as in NumPy. (tl.maximum alone returns the other one.)"""
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(x, y):
    """min(x, y); NaN if either is NaN, as in NumPy."""
    return tl.minimum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def largest(x):
    """The largest of each column of a tile; NaN if one is (tl.max alone would drop it)."""
    if x.dtype.is_floating():
        missing = tl.max((x != x).to(tl.int32), axis=0)
        found = tl.max(tl.where(x != x, float("-inf"), x), axis=0)
        return tl.where(missing > 0, float("nan"), found)
    else:
        return tl.max(x, axis=0)


@triton.jit
def smallest(x):
    """The smallest of each column of a tile; NaN if one is."""
    if x.dtype.is_floating():
        missing = tl.max((x != x).to(tl.int32), axis=0)
        found = tl.min(tl.where(x != x, float("inf"), x), axis=0)
        return tl.where(missing > 0, float("nan"), found)
    else:
        return tl.min(x, axis=0)


@triton.jit
def sqrt(x):
    """√x, correctly rounded (0.5 ULP); 15 instructions. tl.sqrt in float32 is an approximation in
    2.
    """
    _require_float(x)
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def divide(x, y):
    """x / y, correctly rounded (0.5 ULP); 16 instructions. The operator / in float32: 2 ULP, 9
    instructions.
    """
    _require_float(x + y)
    if (x + y).dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def copysign(magnitude, sign):
    """|magnitude| with the sign of the second argument, of the same type; knows -0 from +0."""
    if magnitude.dtype == tl.float32:
        bits = magnitude.to(tl.int32, bitcast=True) & 0x7FFFFFFF
        return (bits | (sign.to(tl.int32, bitcast=True) & -0x80000000)).to(tl.float32, bitcast=True)
    else:
        bits = magnitude.to(tl.int64, bitcast=True) & 0x7FFFFFFFFFFFFFFF
        sign_bit = (sign.to(tl.int64, bitcast=True) >> 63) << 63
        return (bits | sign_bit).to(tl.float64, bitcast=True)


@triton.jit
def exp(x):
    """eˣ = 2ᵏ · 2^(r·log2 e),  k = round(x·log2 e),  r = x - k·ln 2.

    The hardware's 2ˣ is good to 2 ULP as long as its argument is, so only that is reduced. k stays
    within [-126, 127], where 2ᵏ is a normal number; what is beyond remains in r, and the last
    product overflows, or is rounded to a subnormal number, as it should. 2.5 / 1 ULP; 10
    instructions.
    """
    _require_float(x)
    if x.dtype == tl.float64:
        return tl.exp(x)
    else:
        # Adding 1.5·2²³ rounds to an integer, which then stands in the lowest bits of the sum; with
        # 127 added as well, those bits are the exponent field of 2ᵏ.
        shifted = x * 1.4426950216293335 + 12583039.0
        shifted = tl.minimum(tl.maximum(shifted, 12582913.0), 12583166.0)
        k = shifted - 12583039.0
        r = x - k * 0.693145751953125
        r = r - k * 1.428606765330187e-06
        power_of_two = (shifted.to(tl.int32, bitcast=True) << 23).to(tl.float32, bitcast=True)
        return tl.exp2(r * 1.4426950216293335) * power_of_two


@triton.jit
def expm1(x):
    """eˣ - 1 = 2ᵏ·(eʳ - 1) + (2ᵏ - 1),  x = k·ln 2 + r;  eʳ - 1 = r + r²·P(r).

    exp(x) - 1 loses every digit near 0. Computed with half of 2ᵏ and doubled at the end, so that k
    = 128, where 2ᵏ is not a float32 but eˣ still is, comes out right. 1.5 / 2 ULP; 18 instructions.
    """
    _require_float(x)
    if x.dtype == tl.float32:
        # Below -20 the result is -1, above 89 infinite; between them k keeps its few bits.
        clipped = minimum(maximum(x, -20.0), 89.0)
        shifted = clipped * 1.4426950216293335 + 12583038.0  # as in exp, with 126: half of 2ᵏ
        k = shifted - 12583038.0
        half = (shifted.to(tl.int32, bitcast=True) << 23).to(tl.float32, bitcast=True)
        r = clipped - k * 0.693145751953125
        r = r - k * 1.428606765330187e-06
        p = r * 0.00019890991097781807 + 0.0013933649752289057
        p = p * r + 0.00833331048488617
        p = p * r + 0.04166646674275398
        p = p * r + 0.1666666716337204
        p = p * r + 0.5
    else:
        clipped = minimum(maximum(x, -40.0), 710.0)
        shifted = clipped * 1.4426950408889634 + 6755399441056766.0  # 1.5·2⁵² + 1022
        k = shifted - 6755399441056766.0
        half = (shifted.to(tl.int64, bitcast=True) << 52).to(tl.float64, bitcast=True)
        r = clipped - k * 0.6931471805592082
        r = r - k * 7.371002565167799e-13
        p = r * 1.608662795678037e-10 + 2.0918137737642736e-09
        p = p * r + 2.505207109429355e-08
        p = p * r + 2.75572632790885e-07
        p = p * r + 2.755731924721873e-06
        p = p * r + 2.4801587336442236e-05
        p = p * r + 0.00019841269841263298
        p = p * r + 0.0013888888888879073
        p = p * r + 0.008333333333333333
        p = p * r + 0.04166666666666668
        p = p * r + 0.16666666666666666
        p = p * r + 0.5
    expm1_r = p * (r * r) + r
    y = half * expm1_r + (half - 0.5)
    return tl.where(x == 0, x, y + y)  # keeps -0


@triton.jit
def _log_scaled(f, exponent):
    """log((1 + f) · 2^(exponent / 2²³)) for |f| ≤ 1/3:  f - f²/2 + f³·P(f), plus exponent·ln 2."""
    p = f * -0.12125580757856369 + 0.1342574954032898
    p = p * f - 0.12346190214157104
    p = p * f + 0.14118309319019318
    p = p * f - 0.16670140624046326
    p = p * f + 0.20003780722618103
    p = p * f - 0.24999988079071045
    p = p * f + 0.33333319425582886
    p = p * f - 0.5
    return exponent.to(tl.float32) * 8.262958294867817e-08 + (p * (f * f) + f)


@triton.jit
def log(x):
    """ln x = k·ln 2 + ln m,  x = m·2ᵏ with 2/3 ≤ m < 4/3.

    Around x = 1, k is 0 and m - 1 is exact, so small results keep their digits. 1.5 / 1 ULP; 25
    instructions.
    """
    _require_float(x)
    if x.dtype == tl.float32:
        subnormal = x < 1.1754943508222875e-38
        bits = tl.where(subnormal, x * 8388608.0, x).to(tl.int32, bitcast=True)  # · 2²³
        exponent = (bits - 0x3F2AAAAB) & -0x00800000
        m = (bits - exponent).to(tl.float32, bitcast=True)
        y = _log_scaled(m - 1.0, tl.where(subnormal, exponent - 0x0B800000, exponent))
    else:
        y = tl.log(x)
    y = tl.where(x < float("inf"), y, x)  # ∞ and NaN stay what they are
    return tl.where(x > 0, y, tl.where(x == 0, float("-inf"), x * float("nan")))


@triton.jit
def _log1p_positive(x):
    """ln(1 + x) in float32 for finite x > -1.

    1 + x = (1 + f)·2ᵏ. f is not computed from the rounded 1 + x, but as x·2⁻ᵏ + (2⁻ᵏ - 1), where
    only the last addition rounds.
    """
    exponent = ((1.0 + x).to(tl.int32, bitcast=True) - 0x3F2AAAAB) & -0x00800000
    scaled = (x.to(tl.int32, bitcast=True) - exponent).to(tl.float32, bitcast=True)
    four_over = (0x40800000 - exponent).to(tl.float32, bitcast=True)  # 4·2⁻ᵏ: 2⁻¹²⁸ is not normal
    return _log_scaled(scaled + (four_over * 0.25 - 1.0), exponent)


@triton.jit
def log1p(x):
    """ln(1 + x), also where 1 + x rounds to 1. In float64, u = 1 + x is rounded, and ln u is
    corrected by what the rounding lost: ln(1 + x) ≈ ln u + (x - (u - 1)) / u.  2 / 2 ULP; 30
    instructions.
    """
    _require_float(x)
    u = 1.0 + x
    if x.dtype == tl.float32:
        y = _log1p_positive(x)
    else:
        y = tl.log(u) + (x - (u - 1.0)) / u
    y = tl.where((x < float("inf")) & (x != 0), y, x)  # ∞, NaN, and -0 stay what they are
    return tl.where(u > 0, y, tl.where(u == 0, float("-inf"), u * float("nan")))


@triton.jit
def tanh(x):
    """tanh x = x + x³·P(x²) for |x| < 0.9;  else 1 - 2 / (e^(2|x|) + 1) with the sign of x.

    Beyond 0.9 an error of the exponential reaches the result divided by 3 or more, so the bare
    hardware 2ˣ is good enough there. In float64, below 0.55: t / (t + 2), t = expm1(2|x|).  2.5 / 2.5
    ULP; 20 instructions.
    """
    _require_float(x)
    size = tl.abs(x)
    if x.dtype == tl.float32:
        z = x * x
        p = z * -0.000520352681633085 + 0.00275911926291883
        p = p * z - 0.008450872264802456
        p = p * z + 0.021759409457445145
        p = p * z - 0.05395388975739479
        p = p * z + 0.13333262503147125
        p = p * z - 0.3333333134651184
        near = x + x * (z * p)
        far = 1.0 - 2.0 / (tl.exp2(size * 2.885390043258667) + 1.0)
        return copysign(tl.where(size < 0.9, near, far), x)
    else:
        t = expm1(2.0 * size)
        far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0)
        return copysign(tl.where(size < 0.55, t / (t + 2.0), far), x)


@triton.jit
def sigmoid(x):
    """σ(x) = 1 / (1 + e^(-x)) for x ≥ 0,  eˣ / (1 + eˣ) for x < 0.

    Two forms of one formula, of which each uses e^(-|x|), which cannot overflow. 3 / 2 ULP; 22
    instructions.
    """
    e = exp(-tl.abs(x))
    return tl.where(x < 0, e, 1.0) / (1.0 + e)


@triton.jit
def softplus(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^(-|x|)): no overflow, and right where eˣ is tiny. 2.5 / 2
    ULP; 33 instructions.
    """
    e = exp(-tl.abs(x))
    if x.dtype == tl.float32:
        return maximum(x, 0.0) + _log1p_positive(e)
    else:
        return maximum(x, 0.0) + log1p(e)


@triton.jit
def erf(x):
    """erf x = 2/√π ∫₀ˣ e^(-t²) dt: the device library's own. 2 / 1 ULP (CUDA Programming Guide)."""
    _require_float(x)
    return tl.erf(x)


@triton.jit
def _quarter_turn(x):
    """x = k·π/2 + r with |r| ≤ π/4: r, and k as an integer. π/2 in three parts, k times two of them
    exact.
    """
    if x.dtype == tl.float32:
        shifted = x * 0.6366197466850281 + 12582912.0
        k = shifted - 12582912.0
        r = x - k * 1.5703125
        r = r - k * 0.0004837512969970703
        r = r - k * 7.549790126404332e-08
    else:
        shifted = x * 0.6366197723675814 + 6755399441055744.0
        k = shifted - 6755399441055744.0
        r = x - k * 1.5707963267341256
        r = r - k * 6.077100506303966e-11
        r = r - k * 2.0222662487959506e-21
    return r, k.to(tl.int32)


@triton.jit
def _sin_or_cos(x, quarters):
    """sin(x + quarters·π/2): on a quarter turn the sine is ± the sine or ± the cosine of the
    remainder.
    """
    r, k = _quarter_turn(x)
    k = k + quarters
    z = r * r
    if x.dtype == tl.float32:
        s = z * 2.7249313916399842e-06 - 0.00019840082677546889
        s = s * z + 0.008333331905305386
        s = s * z - 0.1666666716337204
        c = z * 2.4547436623834074e-05 - 0.0013888300163671374
        c = c * z + 0.0416666641831398
    else:
        s = z * -7.586576588171073e-13 + 1.6058529572267877e-10
        s = s * z - 2.5052106219521895e-08
        s = s * z + 2.755731921930192e-06
        s = s * z - 0.00019841269841265017
        s = s * z + 0.008333333333333331
        s = s * z - 0.16666666666666666
        c = z * -1.1382456778061306e-11 + 2.0876143827993133e-09
        c = c * z - 2.7557317260008837e-07
        c = c * z + 2.480158729874307e-05
        c = c * z - 0.0013888888888887382
        c = c * z + 0.041666666666666664
    sine = r + r * (z * s)
    cosine = 1.0 + z * (z * c - 0.5)
    y = tl.where((k & 1) == 0, sine, cosine)
    return tl.where((k & 2) == 0, y, -y)


@triton.jit
def sin(x):
    """sin x for |x| ≤ 1000: wrong by 2ε·max(|sin x|, 0.001). Box-Muller needs it on [0, 2π)."""
    _require_float(x)
    return _sin_or_cos(x, 0)


@triton.jit
def cos(x):
    """cos x = sin(x + π/2) for |x| ≤ 1000; the bound of `sin`."""
    _require_float(x)
    return _sin_or_cos(x, 1)


@triton.jit
def _product(x, y):
    """x·y as the rounded product and what the rounding lost, exactly (Dekker 1971, float64).

    Each factor is cut into 26 and 27 bits; the four products of such halves are exact.
    """
    x_high = (x.to(tl.int64, bitcast=True) & -0x8000000).to(tl.float64, bitcast=True)
    y_high = (y.to(tl.int64, bitcast=True) & -0x8000000).to(tl.float64, bitcast=True)
    x_low = x - x_high
    y_low = y - y_high
    product = x * y
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


@triton.jit
def _log_twice_as_long(x):
    """ln x as a sum high + low of two float64, for 0 < x < ∞; the absolute error is about 10⁻¹⁸.

    ln x = k·ln 2 + 2·artanh s,  s = (m - 1) / (m + 1),  x = m·2ᵏ;  2·artanh s = 2s + s³·P(s²) with
    |s| < 0.172, so that only the quotient s needs more digits than float64 has.
    """
    subnormal = x < 2.2250738585072014e-308
    bits = tl.where(subnormal, x * 18014398509481984.0, x).to(tl.int64, bitcast=True)  # · 2⁵⁴
    scale = (bits - 0x3FE6A09E667F3BCD) & -0x10000000000000  # √½ ≤ m < √2
    m = (bits - scale).to(tl.float64, bitcast=True)
    k = (scale >> 52).to(tl.float64) - tl.where(subnormal, 54.0, 0.0)

    divisor = m + 1.0
    s = (m - 1.0) / divisor
    product, lost = _product(s, divisor)
    s_low = (((m - 1.0) - product) - lost - s * (m - (divisor - 1.0))) / divisor
    z = s * s
    p = z * 0.1308707158006738 + 0.13268730539100895
    p = p * z + 0.15386241293734357
    p = p * z + 0.18181795610879042
    p = p * z + 0.22222222391987728
    p = p * z + 0.28571428570802404
    p = p * z + 0.4000000000000088
    p = p * z + 0.6666666666666666

    leading = k * 0.6931471805592082  # exact; at least as large as 2s, or 0
    high = leading + 2.0 * s
    low = (leading - high) + 2.0 * s + (k * 7.371002565167799e-13 + (2.0 * s_low + s * (z * p)))
    total = high + low
    return total, low - (total - high)


@triton.jit
def _power_of_positive(x, y):
    """x^y = e^(y·ln x) for x ≥ 0, float64; where it is neither 0 nor ∞, y·ln x is computed twice as
    long.
    """
    plain = y * tl.log(x)
    high, low = _log_twice_as_long(x)
    argument, lost = _product(y, high)
    estimate = tl.exp(argument)
    return tl.where(tl.abs(plain) < 750.0, estimate + estimate * (lost + y * low), tl.exp(plain))


@triton.jit
def power(x, y):
    """x^y = ± e^(y·ln|x|), as in NumPy and C: NaN for x < 0 unless y is an integer; x⁰ = 1^y = 1
    always.

    The relative error of e^(y·ln x) is the *absolute* error of y·ln x, a number up to 104 in
    float32 and up to 745 in float64: ln x needs more digits than the result has. So float32 is
    computed in float64 (0.51 ULP), and float64 with a logarithm of twice the length (16 ULP; the
    plain formula reaches 700). On GPUs with slow float64, write x * x for x².
    """
    _require_float(x + y)
    base, exponent = tl.broadcast(x.to(tl.float64), y.to(tl.float64))
    size = tl.abs(base)
    if (x + y).dtype == tl.float32:
        magnitude = tl.exp(exponent * tl.log(size))
    else:
        magnitude = _power_of_positive(size, exponent)
    magnitude = tl.where((exponent == 0) | (base == 1), 1.0, magnitude)
    magnitude = tl.where((size == 1) & (tl.abs(exponent) == float("inf")), 1.0, magnitude)
    half = 0.5 * exponent
    is_integer = tl.floor(exponent) == exponent
    is_odd = is_integer & (tl.floor(half) != half)
    negative = base.to(tl.int64, bitcast=True) < 0  # -0 too: (-0)⁻¹ = -∞
    undefined = (base < 0) & (size < float("inf")) & (is_integer == 0)
    result = tl.where(
        negative & is_odd, magnitude * -1.0, magnitude
    )  # -x is 0 - x in Triton: never -0
    return tl.where(undefined, float("nan"), result).to((x + y).dtype)

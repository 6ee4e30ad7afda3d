"""Why no test kills a mutant: the reason, and the mutants as `path: before → after`."""

# ruff: noqa: E501 -- the names are lines of code

REASONS: dict[str, tuple[str, ...]] = {
    "At the border itself both branches give the same number.": (
        "refnet/ops/activations.py: return np.where(x >= 0, 1, e) / (1 + e) → return np.where(x > 0, 1, e) / (1 + e)",
        "refnet/ops/activations.py: return np.where(x > 0, x, negative_slope * x) → return np.where(x >= 0, x, negative_slope * x)",
        "refnet/ops/activations.py: dalpha = np.where(x > 0, 0, g * x) → dalpha = np.where(x >= 0, 0, g * x)",
        "refnet/ops/activations.py: return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))) → return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))",
        "refnet/ops/activations.py: return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))) → return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 1)))",
        "refnet/ops/activations.py: return np.where(x >= 0, SELU_SCALE * x, below) → return np.where(x > 0, SELU_SCALE * x, below)",
        "refnet_triton/ops/activations.py: return tl.where(x < 0, 0.0, x) → return tl.where(x <= 0, 0.0, x)",
    ),
    "The lengths were compared before: by `check_axes`, by `pad` in the forward pass, or by the plan that writes one offset for each array.": (
        "refnet/ops/indexing.py: for axis, column in zip(axes, columns, strict=True): → for axis, column in zip(axes, columns, strict=False):",
        "refnet/ops/shape.py: slice(before, before + n) for (before, _), n in zip(pad_width, np.shape(x), strict=True) → slice(before, before + n) for (before, _), n in zip(pad_width, np.shape(x), strict=False)",
        "refnet/ops/shape.py: for x, offset in zip(xs, offsets, strict=True): → for x, offset in zip(xs, offsets, strict=False):",
        "refnet_triton/ops/shape.py: slice(before, before + n) for n, (before, _) in zip(x.shape, pad_width, strict=True) → slice(before, before + n) for n, (before, _) in zip(x.shape, pad_width, strict=False)",
    ),
    "For the one-dimensional counters that an op makes, the last axis is axis 1.": (
        "refnet/ops/random.py: return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32) → return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)",
        "refnet/ops/random.py: z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count] → z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]",
    ),
    "The words of one counter more; they are cut off.": (
        "refnet/ops/random.py: return philox(np.arange((count + 3) // 4), key).reshape(-1)[:count] → return philox(np.arange((count + 4) // 4), key).reshape(-1)[:count]",
    ),
    "A short cut: what follows gives the same array, by a sum over no axes.": (
        "refnet/ops/reductions.py: if np.shape(x) == shape: → if False:",
    ),
    "The reshape that follows gives the same array.": (
        "refnet/ops/reductions.py: total = np.sum(x, axis=(*range(extra), *stretched), keepdims=True) → total = np.sum(x, axis=(*range(extra), *stretched), keepdims=False)",
    ),
    "Above 20 tanh(ln(1 + eˣ)) is 1 in every type, so where exactly the exponent is cut off does not show.": (
        "refnet_triton/ops/activations.py: e = mathematics.exp(tl.where(x > 20, 20.0, x)) → e = mathematics.exp(tl.where(x > 21, 20.0, x))",
    ),
    "Only a compiled kernel gets these tiles: the interpreter returns before this line. A choice of speed, or a size that the compiler refuses. Not judged here.": (
        "refnet_triton/ops/indexing.py: TILE = 1 << 16 if INTERPRETED.value else 1024  # elements a program holds at a time → TILE = 1 << 16 if INTERPRETED.value else 1025  # elements a program holds at a time",
        "refnet_triton/ops/matmul.py: return 64, 64, 16, 8, 3 → return 64, 64, 16, 8, 4",
        "refnet_triton/ops/matmul.py: return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 3) → return (64, 64, 32, 4, 3) if m * n >= 1 << 21 else (32, 32, 32, 4, 3)",
        "refnet_triton/ops/matmul.py: return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 3) → return (64, 64, 32, 4, 3) if m * n >= 1 >> 20 else (32, 32, 32, 4, 3)",
        "refnet_triton/ops/matmul.py: return 128, 256, 64, 8, 3 → return 128, 257, 64, 8, 3",
        "refnet_triton/ops/matmul.py: if m * n >= 1 << 18: → if m * n > 1 << 18:",
        "refnet_triton/ops/matmul.py: return 128, 128, 64, 8, 3 → return 128, 128, 64, 9, 3",
        "refnet_triton/ops/matmul.py: return 128, 128, 64, 8, 3 → return 128, 128, 64, 8, 4",
        "refnet_triton/ops/matmul.py: return 64, 64, 64, 4, 4 → return 64, 64, 64, 4, 5",
        "refnet_triton/ops/matmul.py: return 64, 64, 64, 4, 4 → return 64, 64, 64, 5, 4",
        "refnet_triton/ops/random.py: counters = 4096 if INTERPRETED.value else 256 → counters = 4096 if INTERPRETED.value else 257",
    ),
    "One start more than there are rows; nobody reads it.": (
        "refnet_triton/ops/indexing.py: starts = torch.searchsorted(picked, torch.arange(rows + 1, device=g.device)) → starts = torch.searchsorted(picked, torch.arange(rows + 2, device=g.device))",
    ),
    "A larger tile, or a sum in parts: the same numbers in another order. A choice of speed.": (
        "refnet_triton/ops/indexing.py: lines = 1 if terms > 1 else min(triton.next_power_of_2(count), tall) → lines = 1 if terms > 1 else max(triton.next_power_of_2(count), tall)",
        "refnet_triton/ops/reductions.py: if outer * blocks < PROGRAMS and length > 16 * rows and not INTERPRETED.value: → if outer * blocks < PROGRAMS and length > 16 * rows and INTERPRETED.value:",
    ),
    "The loaded numbers beyond the end are multiplied by 0, or never used: the mask of the store, or of a `where`, drops them. Without the mask of the load a compiled kernel may leave its memory; the interpreter does not see that.": (
        "refnet_triton/ops/losses.py: x = widen(tl.load(logits + row * classes + column, mask=inside, other=0.0)).to(COMPUTE) → x = widen(tl.load(logits + row * classes + column)).to(COMPUTE)",
        "refnet_triton/ops/losses.py: score = widen(tl.load(x + column, mask=inside, other=0.0)).to(COMPUTE) → score = widen(tl.load(x + column)).to(COMPUTE)",
        "refnet_triton/ops/losses.py: score = widen(tl.load(x + column, mask=inside, other=0.0)).to(COMPUTE) → score = widen(tl.load(x + column, mask=inside, other=1.0)).to(COMPUTE)",
        "refnet_triton/ops/matmul.py: q = tl.load(b_tile, mask=inside[:, None], other=0.0) → q = tl.load(b_tile, mask=inside[:, None], other=1.0)",
        "refnet_triton/ops/reductions.py: wanted = tl.load(y + outer * inner + column, mask=column < inner, other=0.0) → wanted = tl.load(y + outer * inner + column, mask=column < inner)",
    ),
}

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
        "refnet/ops/activations.py: below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(x, 0)) → below = SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(x, 1))",
        "refnet/ops/activations.py: return np.where(x > 0, x, alpha * x) → return np.where(x >= 0, x, alpha * x)",
        "refnet_triton/ops/activations.py: return tl.where(x >= 0, 1.0, tl.where(x < 0, 0.0, x)) → return tl.where(x >= 0, 1.0, tl.where(x <= 0, 0.0, x))",
    ),
    "For the one-dimensional counters that an op makes, the last axis is axis 1.": (
        "refnet/ops/random.py: return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32) → return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)",
        "refnet/ops/random.py: z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count] → z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]",
    ),
    "The words of one counter more; they are cut off.": (
        "refnet/ops/random.py: return philox(np.arange((count + 3) // 4), key).reshape(-1)[:count] → return philox(np.arange((count + 4) // 4), key).reshape(-1)[:count]",
        "refnet/ops/random.py: return philox(np.arange((count + 3) // 4), key).reshape(-1)[:count] → return philox(np.arange((count + 3) * 4), key).reshape(-1)[:count]",
    ),
    "A short cut: what follows gives the same array, by a sum over no axes.": (
        "refnet/ops/reductions.py: if np.shape(x) == shape: → if False:",
    ),
    "The reshape that follows gives the same array.": (
        "refnet/ops/reductions.py: total = np.sum(x, axis=(*range(extra), *stretched), keepdims=True) → total = np.sum(x, axis=(*range(extra), *stretched), keepdims=False)",
        "refnet/ops/reductions.py: total = np.sum(x, axis=(*range(extra), *stretched), keepdims=True) → total = np.sum(x, axis=(*range(extra), *stretched))",
    ),
    "Only a compiled kernel gets these tiles: the interpreter returns before this line. A choice of speed, or a size that the compiler refuses. Not judged here.": (
        "refnet_triton/ops/matmul.py: return 128, 128, 64, 8, 3 → return 128, 128, 64, 8, 4",
    ),
    "One start more than there are rows; nobody reads it.": (
        "refnet_triton/ops/indexing.py: starts = torch.searchsorted(picked, torch.arange(rows + 1, device=g.device)) → starts = torch.searchsorted(picked, torch.arange(rows + 2, device=g.device))",
    ),
    "The loaded numbers beyond the end are multiplied by 0, or never used: the mask of the store, or of a `where`, drops them. Without the mask of the load a compiled kernel may leave its memory; the interpreter does not see that.": (
        "refnet_triton/ops/matmul.py: q = tl.load(b_tile, mask=inside[:, None], other=0.0) → q = tl.load(b_tile, mask=inside[:, None], other=1.0)",
    ),
    "The same number, computed in another way.": (
        "refnet_triton/ops/elementwise.py: return g * -1 → return g / -1",
        "refnet_triton/ops/indexing.py: longest = tl.max(tl.max(last - term, axis=1), axis=0) → longest = tl.max(tl.min(last - term, axis=1), axis=0)",
        "refnet_triton/ops/indexing.py: places += [sizes or (1,), steps or (0,)] → places += [sizes or (2,), steps or (0,)]",
        "refnet_triton/ops/matmul.py: shape = (*x.shape[:-1], kernel.shape[-1]) → shape = (*x.shape[:-1], kernel.shape[1])",
        "refnet_triton/ops/reductions.py: return sum(x, stretched(shape, x.shape), keepdims=True).reshape(shape) → return sum(x, stretched(shape, x.shape), keepdims=False).reshape(shape)",
        "refnet_triton/ops/reductions.py: return tl.where(x == y, 1.0, 0.0) → return tl.where(x == y, 1.5, 0.0)",
    ),
    "A lane that is off, or whose result nobody stores: it reads another element of the same tensor, or the number it gets is multiplied by 0.": (
        "refnet_triton/ops/indexing.py: row = tl.load(rows + line % picks, mask=line < count) → row = tl.load(rows + line % picks, mask=line <= count)",
        "refnet_triton/ops/indexing.py: term = tl.load(starts + row, mask=line < count, other=0) → term = tl.load(starts + row, mask=line < count, other=1)",
        "refnet_triton/ops/matmul.py: p = tl.load(a_tile, mask=inside[None, :], other=0.0) → p = tl.load(a_tile, mask=inside[None, :], other=1.0)",
        "refnet_triton/ops/softmax.py: a = tl.where(inside, a, 0.0) → a = tl.where(inside, a, 1.0)",
    ),
    "A short cut: what follows gives the same array, by more work.": (
        "refnet_triton/ops/matmul.py: if torch.broadcast_shapes(p.shape[:-2], q.shape[:-2]) == x.shape[:-2]: → if False:",
        "refnet_triton/ops/matmul.py: if y.numel() == 0: → if False:",
        "refnet_triton/ops/reductions.py: if y.numel() == 0: → if False:",
        "refnet_triton/ops/reductions.py: return (where.amin(1) if parts > 1 else where).view(y.shape) → return (where.amin(1) if parts >= 1 else where).view(y.shape)",
    ),
    "A choice of speed that only a compiled kernel notices: warps, tiles in flight, a tile of another size. The numbers are the same.": (
        "refnet_triton/ops/matmul.py: return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 3) → return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 4)",
        "refnet_triton/ops/matmul.py: return (64, 64, 32, 4, 3) if m * n >= 1 << 20 else (32, 32, 32, 4, 3) → return (64, 64, 32, 4, 4) if m * n >= 1 << 20 else (32, 32, 32, 4, 3)",
        "refnet_triton/ops/matmul.py: return *(min(256, max(16, triton.next_power_of_2(s))) for s in (m, n, k)), 4, 1 → return *(min(256, max(16, triton.next_power_of_2(s))) for s in (m, n, k)), 5, 1",
        "refnet_triton/ops/softmax.py: *operands, columns, log, compute_type(x.dtype), BLOCK, num_warps=8, **LAUNCH → *operands, columns, log, compute_type(x.dtype), BLOCK, num_warps=9, **LAUNCH",
        "refnet_triton/ops/softmax.py: LONGEST = 16_384  # elements of a row that one program holds → LONGEST = 16385  # elements of a row that one program holds",
        "refnet_triton/ops/softmax.py: most = 65_536 if device.few_programs else 2048  # elements of a program → most = 65537 if device.few_programs else 2048  # elements of a program",
        "refnet_triton/ops/softmax.py: most = 65_536 if device.few_programs else 2048  # elements of a program → most = 65_536 if device.few_programs else 2049  # elements of a program",
    ),
    "The length of an output is known.": (
        "refnet/losses/probabilistic.py: classes = output_shape[-1] or 0 → classes = output_shape[-1] or 1",
    ),
    "`__call__` always says whether it is training; the layer does not ask.": (
        "refnet/layers/activation.py: def call(self, x: Any, training: bool = False) -> Any: → def call(self, x: Any, training: bool = True) -> Any:",
        "refnet/layers/layer.py: def call(self, x: Any, training: bool = False) -> Any: → def call(self, x: Any, training: bool = True) -> Any:",
    ),
    "Whatever reaches this line was checked by `compute_output_shape` before.": (
        "refnet/models/sequential.py: self.compute_output_shape(shape) → pass",
    ),
    "Writes and nodes are counted by one clock: no two have one number.": (
        "refnet/autograd/variable.py: return node.values is not None and self.changed > node.serial → return node.values is not None and self.changed >= node.serial",
    ),
    "A short cut: what follows finds the same, by more work.": (
        "refnet/autograd/backpropagation.py: if vjp is None or node.values is None: → if False:",
        "refnet/autograd/backpropagation.py: if vjp is None or node.values is None: → if vjp is None and node.values is None:",
        "refnet/models/model.py: if not self.all_built(): → if False:",
        "refnet/models/model.py: if not self.all_built(): → if self.all_built():",
        "refnet/models/trainer.py: self._gathered_at = number → pass",
        "refnet/autograd/variable.py: if new.dtype != self.dtype and self.dtype in INTEGERS: → if new.dtype != self.dtype or self.dtype in INTEGERS:",
    ),
    "A slice ends where the array does.": (
        "refnet/optimizers/parameters.py: part = whole[0:4].reshape((2, 2)) → part = whole[0:5].reshape((2, 2))",
    ),
    "Tensors of two backends are refused, whichever of them a list would go to.": (
        "refnet/losses/pairing.py: there = tensors[-1].backend → there = tensors[0].backend",
    ),
    "A copy more, which nobody else holds.": (
        "refnet/layers/layer.py: arrays.append(array.astype(variable.dtype, copy=False)) → arrays.append(array.astype(variable.dtype, copy=True))",
    ),
    "Without a change the function has returned before.": (
        'refnet/losses/pairing.py: return TABLE["index"](x, key=(..., None) if change > 0 else (..., 0)) → return TABLE["index"](x, key=(..., None) if change >= 0 else (..., 0))',
    ),
    "All are written or none.": (
        "refnet/optimizers/parameters.py: if not np.all(backend.numpy(part) == 1): → if not np.any(backend.numpy(part) == 1):",
    ),
    "The first step builds what it calls when it is recorded.": (
        "refnet/models/model.py: if not self.built: → if self.built:",
        "refnet/models/trainer.py: self._ensure_built(data.x) → pass",
    ),
}

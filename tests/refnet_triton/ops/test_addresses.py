"""Every op on more than 2³¹ elements, without their memory: are the addresses right?

Tensors are on the "meta" device: they have a shape, and begin at address 0. Of each launch the last
program is run in the interpreter, in the sizes of a GPU. What it loads are zeros, what it stores goes
nowhere; what counts is where. An address computed with 32 bits is negative, or falls short of the end.

The grid counts as well: CUDA takes 65,535 programs along y and z, and fewer than 2³¹ in all. What brings
a kernel there is not the number of elements alone, but one length that is out of all proportion.
"""

import inspect
import math
import operator
import sys

import numpy as np
import pytest

from refnet import backend as backends
from refnet.check.edge_cases import large_cases
from refnet.errors import ShapeError
from refnet.op import TABLE
from refnet.op.shapes import Spec
from refnet.proof.judge import all_ops, cases_of

pytestmark = pytest.mark.triton

#: torch moves, sorts or finds these; kernels of ours have no part in them
NO_KERNEL = {
    *("reshape", "reshape_vjp", "transpose", "transpose_vjp", "broadcast_to", "sum_vjp"),
    *("concatenate_vjp", "stack_vjp", "pad_vjp", "pack_vjp", "sum_to_vjp", "mask_coordinates"),
    "add_vjp (2147483649,) (2147483649,)",
}
#: kernels of which see only small tensors, and a view stretches the result; or whose loads decide
SMALL = {"mean_vjp", "gather_vjp many"}


class LastProgram:
    """Runs the last program of each launch.

    `reached` holds (lowest address, highest, bytes of an element) of each access, `tensors` what the
    kernels got.
    """

    def __init__(self, monkeypatch, integer=0, whole_loops=True):
        import torch
        from triton.runtime import interpreter

        from refnet_triton.language import pointwise
        from refnet_triton.runtime import device, guard
        from refnet_triton.runtime.interpreter import check_launch

        self.tensors_in, self.check_launch = guard.tensors_in, check_launch
        self.monkeypatch, self.whole_loops = monkeypatch, whole_loops
        self.interpreter, self.integer = interpreter, integer
        self.reached, self.tensors = [], []
        for module in (device, pointwise):
            monkeypatch.setattr(module, "DEVICE", torch.device("meta"))
        builder = interpreter.InterpreterBuilder
        monkeypatch.setattr(builder, "create_masked_load", self.load)
        monkeypatch.setattr(builder, "create_masked_store", self.store)
        monkeypatch.setattr(
            interpreter.GridExecutor, "__call__", lambda launch, *a, **k: self.run(launch, a, k)
        )

    def run(self, launch, arguments, options):
        self.tensors += self.tensors_in(arguments)
        grid = (*launch.grid, 1, 1)[:3]
        self.check_launch(launch.fn.__name__, grid, options.get("num_warps", 4))
        options = {k: v for k, v in options.items() if k in launch.arg_names}
        scope = self.interpreter._patch_lang(launch.fn)
        try:
            given = inspect.getcallargs(launch.fn, *arguments, **options)
            convert = self.interpreter._implicit_cvt
            given = {k: v if k in launch.constexprs else convert(v) for k, v in given.items()}
            self.interpreter.interpreter_builder.set_grid_dim(*grid)
            self.interpreter.interpreter_builder.set_grid_idx(*(n - 1 for n in grid))
            with np.errstate(all="ignore"), self.monkeypatch.context() as patch:
                for name, module in list(sys.modules.items()):
                    if name.startswith("refnet_triton.") and not self.whole_loops:
                        patch.setattr(module, "range", both_ends, raising=False)
                launch.fn(**given)
        finally:
            scope.restore()

    def note(self, pointers, mask):
        active = np.asarray(pointers.data).astype(np.int64)[np.asarray(mask.data, bool)]
        if active.size:
            size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
            self.reached.append((int(active.min()), int(active.max()), size))

    def load(self, pointers, mask, other, *_):
        self.note(pointers, mask)
        dtype = pointers.get_element_ty()
        kind = self.interpreter._get_np_dtype(dtype)
        value = self.integer if np.dtype(kind).kind == "i" else 0
        loaded = np.full(pointers.data.shape, value, kind)
        return self.interpreter.TensorHandle(loaded, dtype.scalar)

    def store(self, pointers, value, mask, *_):
        self.note(pointers, mask)


def both_ends(*bounds):
    """The first and the last two steps of a loop: addresses lie between theirs."""
    steps = range(*map(operator.index, bounds))
    return steps if len(steps) < 4 else [*steps[:2], *steps[-2:]]


def inputs_of(op, case):
    """Shape and type of each input of a case, and all attributes of the op that is no gradient."""
    kinds = {"f": "float32", "i": "int64", "u": "int64", "b": "bool"}
    inputs = [np.asarray(x) for x in case.make(np.random.default_rng(0))]
    given = [Spec(x.shape, kinds[x.dtype.kind]) for x in inputs]
    return given, {**(op.primal or op).attributes, **case.attributes}


def specs(op, case):
    """Shape and type of each input of an op in a case; a gradient gets what its op saves."""
    return specs_of(op, *inputs_of(op, case))


def specs_of(op, given, attributes):
    """The same for inputs of given shapes and types."""
    primal = op.primal or op
    if op.primal is None:
        return given, attributes
    outputs = primal.infer(given, attributes)
    named = dict(zip(primal.outputs, outputs, strict=False)) | dict(
        zip(primal.inputs, given, strict=False)
    )
    saved = [named[name] for name in primal.saves if not primal.variadic]
    saved += given if primal.variadic and primal.saves else []
    upstream = [y for number, y in enumerate(outputs) if primal.flows_through(number)]
    return [*upstream, *saved], {k: v for k, v in attributes.items() if k in op.attributes}


def position(op, case):
    """What loads of integers give: the position that a `gather` picks, the class that is right."""
    if op.file == "random":
        return 1
    inputs = [np.asarray(x) for x in case.make(np.random.default_rng(0))]
    return max((int(x.flat[0]) for x in inputs if x.dtype.kind == "i"), default=0)


CASES = [
    pytest.param(op, case, id=f"{op.name} {case.name}")
    for op in all_ops()
    for case in large_cases(op)
]


def test_every_op_has_a_large_case():
    assert {op.name for op in all_ops()} == {param.values[0].name for param in CASES}


@pytest.mark.parametrize(("op", "case"), CASES)
def test_every_element_beyond_32_bits_is_reached(op, case, torch, monkeypatch):
    """The last programs touch elements beyond the 2³¹st, none before the first, none behind the last."""
    from refnet_triton.runtime.device import INTERPRETED, as_on_a_gpu
    from refnet_triton.runtime.guard import extent

    if not INTERPRETED.value:
        pytest.skip("addresses are looked at in the interpreter")
    inputs, attributes = specs(op, case)
    tensors = [torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="meta") for s in inputs]
    twin = backends.get("triton").function(op)
    last = LastProgram(monkeypatch, position(op, case))
    with as_on_a_gpu():
        twin(*tensors, **attributes)
    names = {op.name, f"{op.name} {case.name}"}
    if names & NO_KERNEL:
        assert not last.reached, f"{op.name} launches a kernel: take it off the list"
        return
    assert last.reached, f"{op.name} launches no kernel"
    lowest = min(first for first, *_ in last.reached)
    assert lowest >= 0, f"{op.name} reads or writes at {lowest}: 32 bits"
    end = max(extent(tensor)[1] for tensor in last.tensors)
    highest = max(stop // size for _, stop, size in last.reached)
    if names & SMALL:
        assert highest < 1 << 31, f"{op.name} reaches element {highest:,}: take it off the list"
    else:
        assert highest >= 1 << 31, f"{op.name} does not reach element 2³¹, but {highest:,}"
    furthest = max(stop + size for _, stop, size in last.reached)
    assert furthest <= end, f"{op.name} reaches byte {furthest:,} of {end:,}"


def test_a_tile_of_very_long_rows(torch, monkeypatch):
    """Within one tile of a product rows may lie 2²⁸ elements apart."""
    twin = backends.get("triton").function(TABLE["matmul"])
    last = LastProgram(monkeypatch)
    twin(*(torch.empty(shape, device="meta") for shape in ((16, 64), (64, 1 << 28))))
    assert min(first for first, *_ in last.reached) >= 0, "matmul reads before the start: 32 bits"
    assert max(stop for _, stop, _ in last.reached) == ((64 << 28) - 1) * 4


# -- one length out of all proportion ---------------------------------------------------------------

ROOM = 1 << 34  # elements of a tensor: 64 GiB in float32, 32 in a half type
#: the shared pointwise kernel counts all elements by one number, whatever their shape
ELEMENTWISE = {"unary", "binary"}
#: `pack` has offsets that belong to its lengths; how long the result of the other is, values decide
FIXED = {"pack", "pack_vjp", "mask_coordinates"}


def stretched(op, case):
    """(length, inputs, attributes) of a case with one of its lengths as large as ROOM allows.

    Wherever inputs have the length, and the attribute `shape`, it is replaced. Where the op does not take
    what comes out, it is left as it is.
    """
    given, attributes = inputs_of(op, case)
    named = attributes.get("shape", ())
    for n in sorted({n for s in given for n in s.shape} | set(named)):
        for length in (1 << e for e in range(34, 16, -1)):
            inputs = [Spec(_replaced(s.shape, n, length), s.dtype) for s in given]
            changed = {**attributes, "shape": _replaced(named, n, length)} if named else attributes
            try:
                results = (op.primal or op).infer(inputs, changed)
            except ShapeError:
                break
            if all(math.prod(s.shape) <= ROOM for s in (*inputs, *results)):
                yield n, inputs, changed
                break


def _replaced(shape, n, length):
    return tuple(length if m == n else m for m in shape)


EXTREMES = [
    op
    for op in all_ops()
    if (op.primal or op).cases.family not in ELEMENTWISE and op.name not in FIXED
]


@pytest.mark.parametrize("op", EXTREMES, ids=lambda op: op.name)
def test_any_length_may_be_out_of_all_proportion(op, torch, monkeypatch):
    """A GPU takes the grids, and the last programs stay within the tensors."""
    from refnet_triton.runtime.device import INTERPRETED, as_on_a_gpu
    from refnet_triton.runtime.guard import extent

    if not INTERPRETED.value:
        pytest.skip("addresses are looked at in the interpreter")
    twin = backends.get("triton").function(op)
    seen, complaints = set(), []
    for case in cases_of(op):
        for n, given, attributes in stretched(op, case):
            inputs, attributes = specs_of(op, given, attributes)
            key = str((inputs, attributes))
            if key in seen:
                continue
            seen.add(key)
            tensors = [
                torch.empty(s.shape, dtype=getattr(torch, s.dtype), device="meta") for s in inputs
            ]
            with monkeypatch.context() as patch, as_on_a_gpu():
                last = LastProgram(patch, 0, whole_loops=False)
                try:
                    twin(*tensors, **attributes)
                except Exception as error:
                    complaints.append(f"{case.name}, {n}: {type(error).__name__}: {error}")
                    continue
            extents = [extent(t) for t in last.tensors if t.numel()]
            for first, stop, size in last.reached:
                if not any(start <= first and stop + size <= end for start, end in extents):
                    complaints.append(f"{case.name}, {n}: reaches {first:,} ... {stop + size:,}")
    assert seen, f"no length of {op.name} can be stretched"
    assert not complaints, "\n".join(complaints)

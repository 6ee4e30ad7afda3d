"""SummaryWriter: numbers, histograms, pictures, texts and graphs for TensorBoard to show.

    with SummaryWriter("runs/digits") as writer:
        writer.add_scalar("loss", 0.25, step=1)

and then, in a terminal, ``tensorboard --logdir runs/digits``. What is written goes into an event
file: one record (an `Event`) after the other, each with its time and its step. The formats are
TensorBoard's own, from the `tensorboard` package; TensorFlow is not needed.

A folder is a run. Runs that use one tag share a plot, so curves to be compared go into runs of
their own: see `SummaryWriter.add_scalars`.
"""

from __future__ import annotations

import math
import struct
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from refnet.errors import (
    ArgumentError,
    DTypeError,
    MissingPackageError,
    NotReadyError,
    ShapeError,
)
from refnet.graph.entry import Entry

Array = np.ndarray[Any, Any]

#: How TensorBoard's protocol names the element types.
DATA_TYPES = {
    "float16": "DT_HALF",
    "bfloat16": "DT_BFLOAT16",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "bool": "DT_BOOL",
    "int8": "DT_INT8",
    "int16": "DT_INT16",
    "int32": "DT_INT32",
    "int64": "DT_INT64",
    "uint8": "DT_UINT8",
    "uint16": "DT_UINT16",
    "uint32": "DT_UINT32",
    "uint64": "DT_UINT64",
}
OPS = {"placeholder": "Placeholder", "variable": "Variable", "constant": "Const"}
LONGEST_TEXT = 200  # of an attribute in a graph
SHOWN_ELEMENTS = 16  # constants of up to so many elements show their values in a graph


class SummaryWriter:
    """Write what TensorBoard shows. Names are those of torch.utils.tensorboard.

    Every method takes a `tag`, the title under which a thing is shown (slashes group: "dense/kernel"
    stands in the section "dense"), and a `step`, the place on the horizontal axis: a whole number of
    at least 0, the epoch or the batch. All raise errors that name the tag.

    Parameters
    ----------
    log_dir : the folder of this run. Made with the first thing that is written. Take a new one for
        each run: TensorBoard draws two runs in one folder as one tangled curve.
    flush_secs : how often, in seconds, what has been added is written to disk; `flush` does it now.

    Raises
    ------
    MissingPackageError
        If tensorboard is not installed.
    """

    def __init__(self, log_dir: str | Path, flush_secs: float = 30) -> None:
        try:
            import tensorboard.summary.writer.event_file_writer  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f"summaries need tensorboard: pip install 'refnet[viz]' ({error})"
            ) from error
        self.log_dir = Path(log_dir)
        self.flush_secs = flush_secs
        self._runs: dict[str, SummaryWriter] = {}
        self._file: Any = None
        self._closed = self._has_graph = False

    # -- numbers -------------------------------------------------------------------------------

    def add_scalar(self, tag: str, value: Any, step: int) -> None:
        """Add one number to the curve `tag`. NaN and infinities are kept, and shown as such."""
        self._add(tag, _scalar(tag, value), "scalar", step)

    def add_scalars(self, tag: str, values: Mapping[str, Any], step: int) -> None:
        """Add a number to each of several curves in one plot: {"train": 0.3, "validation": 0.4}.

        Each name is a run of its own, in the folder log_dir/name.
        """
        if not isinstance(values, Mapping):
            raise ArgumentError(f"scalars {tag!r} are a dict, {{run: number}}, got {values!r}")
        curves = [(self.run(run), _scalar(tag, value)) for run, value in values.items()]
        for run, value in curves:
            run.add_scalar(tag, value, step)

    def add_histogram(self, tag: str, values: Any, step: int, bins: int = 30) -> None:
        """Add how often which values occur in an array of any shape.

        The range from the smallest to the largest is cut into `bins` equal parts. NaN and infinities
        have no place on that axis and are not counted.
        """
        if not _is_whole(bins) or bins < 1:
            raise ArgumentError(f"histogram {tag!r}: bins is a whole number >= 1, got {bins!r}")
        self._add(tag, _histogram(_numbers(tag, values), int(bins)), "histogram", step)

    # -- pictures and texts --------------------------------------------------------------------

    def add_image(self, tag: str, image: Any, step: int) -> None:
        """Add a picture: an array, or the path of a PNG file, which all of `refnet.plot` return.

        Arrays are (height, width) or (height, width, 1) for grey, (height, width, 3) for red, green
        and blue; floats from 0 (black) to 1 or uint8 from 0 to 255.
        """
        if isinstance(image, (str, PurePath)):
            self._add_png(tag, _png_file(tag, image), step)
        else:
            self._add_png(tag, _png(_pixels(tag, image, axes=3)), step)

    def add_images(self, tag: str, images: Any, step: int, columns: int | None = None) -> None:
        """Add several pictures of one size as one, in rows: (number, height, width[, 1 or 3])."""
        if columns is not None and (not _is_whole(columns) or columns < 1):
            raise ArgumentError(f"images {tag!r}: columns is a whole number >= 1, got {columns!r}")
        pixels = _pixels(tag, images, axes=4)
        self._add_png(tag, _png(_in_rows(pixels, columns)), step)

    def add_text(self, tag: str, text: str, step: int = 0) -> None:
        """Add a text. TensorBoard reads it as Markdown."""
        if not isinstance(text, str):
            raise ArgumentError(f"text {tag!r} is a str, got {type(text).__name__}")
        self._add(tag, np.array([text.encode()], object), "text", step)

    # -- the graph -----------------------------------------------------------------------------

    def add_graph(self, graph: Any) -> None:
        """Add a graph, which the Graphs page draws. A run has one; a further one is a run of its own.

        `graph` has a method `entries()` that returns a list of `refnet.graph.entry.Entry`.
        """
        from tensorboard.compat.proto.event_pb2 import Event

        if not callable(getattr(graph, "entries", None)):
            raise ArgumentError(f"add_graph takes a refnet.Graph, got {type(graph).__name__}")
        if self._has_graph:
            raise ArgumentError(
                f"{self.log_dir} has its graph, and TensorBoard shows one in each run: "
                "add the next with writer.run('another').add_graph(graph)"
            )
        definition = graph_definition(graph.entries())
        self._has_graph = True
        self._write(Event(wall_time=time.time(), graph_def=definition.SerializeToString()))

    # -- runs and files ------------------------------------------------------------------------

    def run(self, name: str) -> SummaryWriter:
        """The writer of a run inside this one, in the folder log_dir/name. Closed with this one."""
        self._require_open()
        parts = PurePath(name).parts if isinstance(name, str) else ()
        if not parts or {"..", "/"} & set(parts):
            raise ArgumentError(
                f"a run is the name of a folder inside {self.log_dir}, got {name!r}"
            )
        if name not in self._runs:
            self._runs[name] = SummaryWriter(self.log_dir / name, self.flush_secs)
        return self._runs[name]

    def flush(self) -> None:
        """Write to disk what has been added; TensorBoard sees it when it next looks."""
        for run in self._runs.values():
            run.flush()
        if self._file is not None and not self._closed:
            self._file.flush()

    def close(self) -> None:
        """Flush, and close the file. Nothing can be added any more."""
        for run in self._runs.values():
            run.close()
        if self._file is not None and not self._closed:
            self._file.close()
        self._closed = True

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SummaryWriter in {self.log_dir}>"

    def _require_open(self) -> None:
        if self._closed:
            raise NotReadyError(f"the writer of {self.log_dir} is closed: make a new one")

    def _add_png(self, tag: str, png: bytes, step: int) -> None:
        """TensorBoard's images are three texts: the width, the height and the file."""
        width, height = struct.unpack(">II", png[16:24])
        self._add(tag, np.array([b"%d" % width, b"%d" % height, png], object), "image", step)

    def _add(self, tag: str, values: Array, plugin: str, step: int) -> None:
        """Write one value, and for which page of TensorBoard it is."""
        import importlib

        from tensorboard.compat.proto import summary_pb2
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.util.tensor_util import make_tensor_proto

        if not isinstance(tag, str) or not tag:
            raise ArgumentError(f"a tag is a text that is not empty, got {tag!r}")
        if not _is_whole(step) or step < 0:
            raise ArgumentError(f"{plugin} {tag!r}: step is a whole number >= 0, got {step!r}")
        page = importlib.import_module(f"tensorboard.plugins.{plugin}.metadata")
        metadata = page.create_summary_metadata(display_name="", description="")
        metadata.data_class = {
            "scalar": summary_pb2.DATA_CLASS_SCALAR,
            "image": summary_pb2.DATA_CLASS_BLOB_SEQUENCE,
        }.get(plugin, summary_pb2.DATA_CLASS_TENSOR)
        value = summary_pb2.Summary.Value(
            tag=tag, metadata=metadata, tensor=make_tensor_proto(values)
        )
        summary = summary_pb2.Summary(value=[value])
        self._write(Event(wall_time=time.time(), step=int(step), summary=summary))

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._require_open()
        if self._file is None:
            try:
                self._file = EventFileWriter(str(self.log_dir), flush_secs=self.flush_secs)
            except OSError as error:
                raise ArgumentError(
                    f"cannot write into log_dir {self.log_dir}: {error.strerror}"
                ) from error
        self._file.add_event(event)


# -- what is given, checked ------------------------------------------------------------------------


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _numbers(tag: str, values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{tag!r}: the rows of the nested lists differ in length") from error
    if array.dtype.kind not in "biuf":
        raise DTypeError(f"{tag!r} is made of numbers, got {type(values).__name__} {values!r}")
    return array


def _scalar(tag: str, value: Any) -> Array:
    number = _numbers(tag, value)
    if number.size != 1:
        raise ShapeError(f"scalar {tag!r} is one number, got an array of shape {number.shape}")
    with np.errstate(over="ignore"):  # beyond float32 is infinity
        return number.reshape(()).astype(np.float32)


def _pixels(tag: str, images: Any, axes: int) -> Array:
    """One picture (3 axes) or several (4) as uint8, the last axis being 1 or 3 colours."""
    array = _numbers(tag, images)
    if array.ndim == axes - 1:
        array = array[..., None]
    if array.ndim != axes or array.shape[-1] not in (1, 3) or 0 in array.shape:
        many = "number, " * (axes - 3)
        raise ShapeError(
            f"image {tag!r} has shape ({many}height, width), ({many}height, width, 1) or "
            f"({many}height, width, 3), got {np.shape(images)}"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise DTypeError(f"image {tag!r} is uint8, or floats from 0 to 1; got {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):  # also if one of them is NaN
        raise ArgumentError(
            f"image {tag!r}: floats are from 0 (black) to 1, got {array.min():g} to {array.max():g}"
        )
    return np.round(array * 255).astype(np.uint8)


# -- what is made of it ----------------------------------------------------------------------------


def _histogram(values: Array, bins: int) -> Array:
    """(bins, 3): where each part begins, where it ends, how many values lie in it.

    If all are the same number, all parts are that point and the last one holds them, as in
    TensorBoard's own summaries.
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if values.size == 0:
        return np.zeros((bins, 3))
    low, high = values.min(), values.max()
    if low == high:
        counts, edges = np.zeros(bins), np.full(bins + 1, low)
        counts[-1] = values.size
    else:
        counts, edges = np.histogram(values, bins)
    return np.stack([edges[:-1], edges[1:], counts], axis=1)


def _in_rows(images: Array, columns: int | None) -> Array:
    """(n, height, width, colours) as one picture; nearly square unless `columns` is given."""
    count, height, width, colours = images.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    between = 128
    grid = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, colours), between, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = 1 + row * (height + 1), 1 + column * (width + 1)
        grid[top : top + height, left : left + width] = image
    return grid


def _png(pixels: Array) -> bytes:
    """(height, width, colours) of uint8 as a PNG file: ISO/IEC 15948, with no filter.

    A signature and three chunks: the header, the compressed rows (each begins with the number of its
    filter, 0 being none), the end. A chunk is its length, its name, its content and a checksum.
    """

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    height, width, colours = pixels.shape
    rows = np.pad(pixels.reshape(height, width * colours), ((0, 0), (1, 0)))
    colour_type = {1: 0, 3: 2}[colours]
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def _png_file(tag: str, path: str | PurePath) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArgumentError(f"image {tag!r}: cannot read {path}: {error.strerror}") from error
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) < 33:
        raise ArgumentError(f"image {tag!r}: {path} is not a PNG file")
    return content


def graph_definition(entries: Sequence[Entry]) -> Any:
    """A `GraphDef`, TensorFlow's format for graphs, which the Graphs page draws.

    Every entry is a node: its name, whose slashes are scopes that open and close; its op; the names
    it reads. The shapes of the results, in the attribute _output_shapes, stand beside the edges. A
    length that is open until the run is -1. The other attributes are shown when a node is clicked.
    """
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DataType
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    def shape_of(shape: tuple[int | None, ...]) -> Any:
        lengths = [-1 if length is None else length for length in shape]
        return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in lengths])

    nodes = []
    for entry in entries:
        shapes = AttrValue.ListValue(shape=[shape_of(shape) for shape, _ in entry.outputs])
        types = [DataType.Value(DATA_TYPES[dtype]) for _, dtype in entry.outputs]
        attributes = {
            "_output_shapes": AttrValue(list=shapes),
            "dtype": AttrValue(type=types[0])
            if len(types) == 1
            else AttrValue(list=AttrValue.ListValue(type=types)),
        }
        for name, text in _texts(entry).items():
            attributes[name] = AttrValue(s=text.encode())
        op = OPS.get(entry.kind, entry.op)
        nodes.append(NodeDef(name=entry.name, op=op, input=entry.inputs, attr=attributes))
    return GraphDef(node=nodes, versions=VersionDef(producer=22))


def _texts(entry: Entry) -> dict[str, str]:
    """What the Graphs page shows of an entry besides its shapes: attributes, a small value, its line."""
    texts = {name: str(value) for name, value in entry.attributes.items()}
    if entry.kind == "variable":
        texts["trainable"] = str(entry.trainable)
    if entry.kind == "constant" and entry.value is not None and entry.value.size <= SHOWN_ELEMENTS:
        texts["value"] = str(entry.value.tolist())
    if entry.line:
        texts["line"] = entry.line
    return {
        name: text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."
        for name, text in texts.items()
    }

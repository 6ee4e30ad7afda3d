"""TensorBoard: the callback that writes a training for TensorBoard to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refnet.backend import use_backend
from refnet.base.arguments import truth, whole_number
from refnet.callbacks.callback import Callback, Logs
from refnet.errors import ArgumentError, DataError, ShapeError
from refnet.graph.graph import Graph, placeholder
from refnet.summary import SummaryWriter
from refnet.training.step import weight_gradients

Array = np.ndarray[Any, Any]


class TensorBoard(Callback):
    """Write a training for TensorBoard: ``model.fit(..., callbacks=[TensorBoard("runs/first")])``.

    In a terminal, ``tensorboard --logdir runs`` then shows it, while it runs or later. As in Keras,
    what belongs to the training is written into the run log_dir/train, and what belongs to the
    validation into log_dir/validation, under the same tags, so that each pair shares a plot:

    - after each epoch `epoch_loss`, an `epoch_...` for each metric, and `epoch_learning_rate`;
    - before the first, the graph of the model;
    - and what is asked for below. Writing changes nothing in the training itself.

    Parameters
    ----------
    log_dir : a folder; a new one for each training.
    histogram_freq : every how many epochs the weights are written as histograms, and with `sample`
        their gradients, as "dense/kernel/histogram" and "dense/kernel/gradient"; 0 is never.
    write_graph : whether to write the model's graph.
    write_images : whether to write the weights as pictures too, as often as histograms. Black is the
        smallest weight, white the largest.
    update_freq : "epoch"; or "batch" or a number n, to write `batch_loss` and the metrics as well,
        after every batch or every n. Reading numbers back after each batch slows a GPU down.
    sample : (x, y), some of the training data. ∂L/∂w, the gradient of the loss on them, is what
        histograms of gradients show. A few hundred examples are enough.
    mistakes : (images, labels). A picture shows those that the model is most wrong about: what each
        shows, and what it was taken for. Labels are class numbers. Needs matplotlib.
    mistakes_freq : every how many epochs that picture is written.
    """

    def __init__(
        self,
        log_dir: str | Path = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        update_freq: str | int = "epoch",
        sample: tuple[Any, Any] | None = None,
        mistakes: tuple[Any, Any] | None = None,
        mistakes_freq: int = 1,
    ) -> None:
        whole_number("TensorBoard: histogram_freq", histogram_freq, least=0)
        whole_number("TensorBoard: mistakes_freq", mistakes_freq)
        if update_freq not in ("epoch", "batch"):
            whole_number("TensorBoard: update_freq is 'epoch', 'batch', or", update_freq)
        _require_pair("sample", sample)
        _require_pair("mistakes", mistakes)
        if sample is not None and not histogram_freq:
            raise ArgumentError(
                "TensorBoard: sample is for histograms of gradients; say how often, histogram_freq=1"
            )
        self.log_dir = Path(log_dir)
        self.histogram_freq, self.mistakes_freq = histogram_freq, mistakes_freq
        self.write_graph = truth("TensorBoard: write_graph", write_graph)
        self.write_images = truth("TensorBoard: write_images", write_images)
        self.sample = sample
        self.mistakes = None if mistakes is None else _pictures(*mistakes)
        SummaryWriter(self.log_dir)  # is tensorboard here? Now is the time to say that it is not
        if update_freq != "epoch":
            self.each = 1 if update_freq == "batch" else int(update_freq)
            # on this object alone: `fit` reads the numbers after each batch if there is such a hook
            self.on_train_batch_end = self._write_batch  # type: ignore[method-assign]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.examples = None if self.sample is None else self.model._examples(*self.sample)
        if self.mistakes is not None:
            self._check_mistakes(*self.mistakes)
        self.writer = SummaryWriter(self.log_dir)
        if self.write_graph:
            self.writer.run("train").add_graph(self._graph())

    def on_test_end(self, logs: Logs | None = None) -> None:
        steps = self.model.optimizer.iterations
        for name, value in (logs or {}).items():
            self.writer.run("validation").add_scalar(
                f"evaluation_{name}_vs_iterations", value, steps
            )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            run = "validation" if name.startswith("val_") else "train"
            tag = f"epoch_{name.removeprefix('val_')}"
            self.writer.run(run).add_scalar(tag, value, epoch)
        rate = self.model.optimizer.learning_rate
        self.writer.run("train").add_scalar("epoch_learning_rate", rate, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.mistakes is not None and epoch % self.mistakes_freq == 0:
            self._write_mistakes(*self.mistakes, epoch)
        self.writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.writer.close()

    def _write_batch(self, batch: int, logs: Logs | None = None) -> None:
        steps = self.model.optimizer.iterations
        if steps % self.each == 0:
            for name, value in (logs or {}).items():
                self.writer.run("train").add_scalar(f"batch_{name}", value, steps)

    def _graph(self) -> Any:
        """The model as a graph: what it does to a placeholder of any number of examples."""
        shape = self.model.layers[0].input_shape
        assert shape is not None  # `fit` has built the model
        with Graph() as graph, use_backend(self.model.backend):
            self.model(placeholder(shape, name="input"))
        return graph

    # -- weights and gradients -----------------------------------------------------------------

    def _write_weights(self, epoch: int) -> None:
        train = self.writer.run("train")
        for weight in self.model.weights:
            train.add_histogram(f"{weight.name}/histogram", weight.numpy(), epoch)
            if self.write_images:
                train.add_image(f"{weight.name}/image", _as_picture(weight.numpy()), epoch)
        if self.examples is not None:
            found = weight_gradients(self.model, self.examples.x, self.examples.y)
            for weight, gradient in zip(self.model.trainable_weights, found, strict=True):
                train.add_histogram(f"{weight.name}/gradient", gradient, epoch)

    # -- mistakes ------------------------------------------------------------------------------

    def _check_mistakes(self, images: Array, labels: Array) -> None:
        """Raise an error unless the model tells a class for each image, from 0 to the last label."""
        shape = self.model.compute_output_shape(images.shape)
        classes = int(labels.max()) + 1
        if len(shape) != 2 or (shape[1] or 0) < classes:
            raise ShapeError(
                f"TensorBoard: mistakes have labels up to {classes - 1}, so the model's output is "
                f"(batch, {classes} or more), got {shape}"
            )

    def _write_mistakes(self, images: Array, labels: Array, epoch: int, most: int = 12) -> None:
        """The images the model is most wrong about; nothing if it is right about all."""
        import tempfile

        p = self.model.predict(images)
        wrong = np.flatnonzero(p.argmax(axis=1) != labels)
        hardest = wrong[np.argsort(p[wrong, labels[wrong]])][:most]
        if len(hardest) == 0:
            return
        with tempfile.TemporaryDirectory() as folder:
            picture = _draw_mistakes(
                images[hardest],
                labels[hardest],
                p[hardest].argmax(axis=1),
                Path(folder) / "mistakes.png",
                f"epoch {epoch}: {len(wrong)} of {len(labels)} wrong",
            )
            self.writer.run("validation").add_image("mistakes", picture, epoch)


def _draw_mistakes(images: Array, labels: Array, said: Array, path: Path, title: str) -> Path:
    """Images in rows, each with "4 → 9": it shows a 4 and was taken for a 9.

    As small as TensorBoard's cards are, because these shrink larger pictures without smoothing.
    """
    from refnet.plot.figure import RED, new_figure, save

    columns = 4
    rows = -(-len(images) // columns)
    with new_figure((2.54, 0.82 * rows + 0.25), (rows, columns)) as (figure, axes):
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, image, label, answer in zip(axes.flat, images, labels, said, strict=False):
            ax.imshow(image, cmap="Greys", interpolation="nearest")
            ax.set_title(f"{label} → {answer}", fontsize=9, color=RED, pad=2)
        figure.suptitle(title, fontsize=9)
        return save(figure, path)


def _require_pair(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise ArgumentError(f"TensorBoard: {name} is (x, y), got {type(value).__name__}")


def _pictures(images: Any, labels: Any) -> tuple[Array, Array]:
    """Checked images and their labels, and that pictures can be drawn."""
    from refnet.plot.figure import new_figure

    images, labels = np.asarray(images), np.asarray(labels)
    drawable = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] in (1, 3))
    if not drawable or 0 in images.shape:
        raise ShapeError(
            "TensorBoard: mistakes are (images, labels) with images of shape (number, height, width) "
            f"or (number, height, width, 1 or 3), got {images.shape}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(
            f"TensorBoard: mistakes need a class number for each of the {len(images)} images, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    with new_figure((1, 1), (1, 1)):
        return images, labels


def _as_picture(weight: Array) -> Array:
    """A weight as a grey picture, its last axis from left to right; NaN and infinities are black."""
    finite = np.isfinite(weight)
    values = weight[finite].astype(np.float64)
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    grey = (np.where(finite, weight, low) - low) / (high - low or 1)
    return grey.reshape(-1, weight.shape[-1] if weight.ndim else 1)

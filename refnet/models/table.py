"""A model as a table: its layers, the shapes between them, and how many numbers each has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refnet.models.model import Model


def overview(model: Model) -> list[str]:
    """The lines that `model.summary()` prints."""
    rows = [("Layer", "Output shape", "Parameters")]
    for layer, shape in zip(model.layers, model.layer_shapes(), strict=True):
        kind, shown = f"{layer.name} ({type(layer).__name__})", "?" if shape is None else str(shape)
        rows.append((kind, shown, f"{layer.count_params():,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    rule = "─" * (sum(widths) + 4)
    table = [
        f"{kind:<{widths[0]}}  {shown:<{widths[1]}}  {count:>{widths[2]}}"
        for kind, shown, count in rows
    ]
    trainable = sum(w.size for w in model.trainable_weights)
    return [
        f"Model {model.name!r} on {model.backend.name}",
        *(table[0], rule, *table[1:], rule),
        f"{model.count_params():,} parameters, {trainable:,} of them trainable",
    ]

"""Layers as data: a list of what `get_config` wrote becomes layers again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refnet import layers
from refnet.base.objects import is_object, read
from refnet.errors import unknown_name
from refnet.layers.layer import Layer


def made(described: Sequence[Any], custom_objects: Mapping[str, Any]) -> list[Layer]:
    """The layers; `custom_objects` maps names to classes that are not in `refnet.layers`."""
    known = {**{name: getattr(layers, name) for name in layers.__all__}, **custom_objects}
    for layer in described:
        if is_object(layer) and layer["class_name"] not in known:
            raise unknown_name("layer", layer["class_name"], known)
    return [read(layer, known) for layer in described]

"""What the public classes are made with in tests: a value for each name of an argument.

A new layer, loss, metric, optimizer, initializer, regularizer or callback whose arguments have other
names than these needs a line here, and nowhere else.
"""

import inspect

from refnet import initializers, regularizers

#: what stands in the place of arguments without a default
REQUIRED = {
    "units": 3,
    "activation": "tanh",
    "rate": 0.25,
    "stddev": 0.5,
    "target_shape": (3, 1),
    "shape": (4, None),
}
#: other values than the defaults, which make a difference
OTHER = {
    "activation": "relu",
    "alpha": 0.7,
    "alpha_initializer": initializers.Constant(0.25),
    "alpha_regularizer": regularizers.L2(0.01),
    "axis": 0,
    "beta_1": 0.5,
    "bias_initializer": initializers.Ones(),
    "bias_regularizer": regularizers.L2(0.01),
    "class_id": 1,
    "curve": "PR",
    "delta": 0.2,
    "from_logits": True,
    "input_shape": (3,),
    "kernel_initializer": initializers.RandomNormal(0.5, 0.1, seed=3),
    "kernel_regularizer": regularizers.L1L2(0.1, 0.2),
    "label_smoothing": 0.3,
    "learning_rate": 0.5,
    "mode": "max",
    "momentum": 0.75,
    "name": "mine",
    "negative_slope": 0.7,
    "nesterov": True,
    "num_thresholds": 4,
    "patience": 4,
    "rate": 0.3,
    "reduction": "sum",
    "seed": 7,
    "shared_axes": (1,),
    "stddev": 0.3,
    "target_shape": (1, 3),
    "threshold": 0.65,
    "thresholds": 0.65,
    "trainable": False,
    "units": 5,
    "use_bias": False,
}


def required(kind):
    """{name: value} for the arguments of a class that have no default."""
    parameters = inspect.signature(kind).parameters.values()
    open_ones = [
        p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    unknown = set(open_ones) - set(REQUIRED)
    assert not unknown, (
        f"{kind.__name__} needs {unknown}: say in REQUIRED of {__file__} what to give it"
    )
    return {name: REQUIRED[name] for name in open_ones}


def other(kind, name):
    """Another value than the default of an argument."""
    assert name in OTHER, (
        f"{kind.__name__} takes {name}: say in OTHER of {__file__} what to set it to"
    )
    return OTHER[name]

"""What other libraries call it: names that users of TensorFlow, Keras, PyTorch and NumPy type.

A name that a module or an object does not have is an AttributeError. It says what there is instead:
from the table below, where another library has such a name; by the place where refnet has the name
itself (refnet.relu: refnet.activations.relu); or else by the nearest names.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from refnet.errors import MissingNameError, unknown_name

#: where a name that `refnet` itself has not may be, best first
ROOMS = (
    *("activations", "layers", "losses", "optimizers", "metrics", "initializers", "regularizers"),
    *("callbacks", "utils", "random", "ops"),
)

_TENSOR = "refnet.tensor(values) makes a tensor"
_RECORDED = "every tensor records what made it, without a tape: refnet.gradients(loss, [w])"
_DETACH = "x.detach() is the value without its history, through which no gradients flow"
_TRAINING = "model(x, training=True) is the output in training, model(x) that of a trained network"
_MOVE = 'model.to("triton") moves a model, refnet.tensor(x, backend="triton") a tensor'
_CHANGES = "a tensor does not change; refnet.Variable does, by w.assign(values)"
_STORED = "there are model.get_weights() and model.set_weights(weights), which np.savez can store"
_LAYERS = (
    "of its kind there is nothing here: layers are refnet.layers.Dense, Dropout, Flatten, Reshape"
)
_OWN = "a layer of your own is a subclass of refnet.layers.Layer"
_RATE = "optimizer.learning_rate = 0.01 changes the learning rate"

#: owner -> names, side by side -> what to use here
WORDS: dict[str, dict[str, str]] = {
    "refnet": {
        "constant convert_to_tensor as_tensor asarray array from_numpy": _TENSOR,
        "Parameter": "refnet.Variable(values) is a tensor that training changes",
        "GradientTape grad autograd value_and_grad": _RECORDED,
        "no_grad inference_mode stop_gradient detach": _DETACH,
        "function jit compile": "refnet.Graph holds a computation that refnet.Session runs; "
        "model.fit records its step by itself",
        "nn": "refnet.layers has the layers, refnet.activations and refnet.losses the functions",
        "keras": "Keras' names stand in refnet itself: refnet.Sequential, refnet.layers, refnet.losses",
        "Module": "a subclass of refnet.Model says in call(self, x) how its layers are put together",
        "optim train": "refnet.optimizers has them: refnet.optimizers.Adam(0.001)",
        "linalg math": "refnet.ops has the functions of tensors",
        "manual_seed": "refnet.utils.set_random_seed(0) seeds all random numbers",
        "rand": "refnet.random.uniform((2, 3)) draws from [0, 1)",
        "randn": "refnet.random.normal((2, 3)) draws from N(0, 1)",
        "cat concat": "refnet.ops.concatenate([x, y], axis=0)",
        "reduce_sum": "refnet.ops.sum(x, axis=0), or x.sum(axis=0)",
        "reduce_mean": "refnet.ops.mean(x, axis=0), or x.mean(axis=0)",
        "reduce_max": "refnet.ops.max(x, axis=0), or x.max(axis=0)",
        "reduce_min": "refnet.ops.min(x, axis=0), or x.min(axis=0)",
        "one_hot": "refnet.utils.to_categorical(labels, 10) makes one-hot rows",
        "device": 'refnet.use_backend("triton") says where tensors are made',
        "float16 float32 float64 bfloat16 int32 int64 bool": 'a type is its name, "float32", or '
        'NumPy\'s: refnet.zeros((2, 3), "float32")',
        "newaxis": "x[:, None] has a new axis",
        "variable_scope": 'with refnet.name_scope("hidden"): names what is written in it',
        "global_variables_initializer": "a refnet.Session starts its variables by itself",
        "load_model load save": f"{_STORED}; refnet.Graph.save and refnet.Graph.load are for graphs",
        "data Dataset DataLoader": "model.fit(x, y, batch_size=32) takes arrays",
    },
    "refnet.layers": {
        "Linear": "refnet.layers.Dense(units): the inputs are counted when it is first used",
        "InputLayer": "refnet.layers.Input(shape)",
        "Sigmoid Tanh": 'refnet.layers.Activation("tanh"), or Dense(units, activation="tanh")',
        "Add Concatenate Multiply": "refnet.Sequential is a chain, where nothing joins: "
        "refnet.ops.concatenate joins tensors",
        "Lambda Permute RepeatVector Rescaling Module": _OWN,
        "Sequential": "refnet.Sequential([layer, ...])",
    },
    "refnet.losses": {
        "CrossEntropyLoss cross_entropy": "refnet.losses.SparseCategoricalCrossentropy("
        "from_logits=True)",
        "NLLLoss": "refnet.losses.SparseCategoricalCrossentropy() of probabilities",
        "softmax_cross_entropy_with_logits": "refnet.ops.softmax_cross_entropy(logits, targets)",
        "BCELoss": "refnet.losses.BinaryCrossentropy()",
        "BCEWithLogitsLoss": "refnet.losses.BinaryCrossentropy(from_logits=True)",
        "MSELoss mse MSE mse_loss": "refnet.losses.mean_squared_error(y_true, y_pred)",
        "L1Loss mae MAE l1_loss": "refnet.losses.mean_absolute_error(y_true, y_pred)",
    },
    "refnet.optimizers": {
        "GradientDescentOptimizer GradientDescent": "refnet.optimizers.SGD(learning_rate)",
        "Momentum MomentumOptimizer": "refnet.optimizers.SGD(learning_rate, momentum=0.9)",
        "AdamOptimizer": "refnet.optimizers.Adam(learning_rate)",
        "RMSProp RMSPropOptimizer": "refnet.optimizers.RMSprop(learning_rate)",
        "schedules lr_scheduler ExponentialDecay": f"{_RATE} between two calls of fit",
    },
    "refnet.metrics": {
        "accuracy accuracy_score": "refnet.metrics.Accuracy(), or metrics=['accuracy'] in compile",
    },
    "refnet.activations": {
        "ReLU": "refnet.activations.relu",
        "LeakyReLU": "refnet.activations.leaky_relu",
        "Sigmoid logistic": "refnet.activations.sigmoid",
        "logsoftmax": "refnet.activations.log_softmax",
        "hard_silu hardswish": "refnet.activations.hard_swish",
        "heaviside step": "refnet.activations.binary_step",
    },
    "Tensor": {
        "cuda cpu to device is_cuda": _MOVE,
        "requires_grad requires_grad_ is_leaf retain_grad": f"{_RECORDED}; refnet.Variable changes",
        "data": _DETACH,
        "dim rank": "x.ndim is the number of axes",
        "numel": "x.size is the number of elements",
        "get_shape set_shape": "x.shape is the length of each axis",
        "view": "x.reshape(2, -1) has the same elements",
        "permute": "x.transpose(1, 0) has the axes in another order",
        "unsqueeze": "x.expand_dims(0), or x[None], has a new axis",
        "t mT": "x.T has the axes reversed, x.swapaxes(-1, -2) the last two",
        "mm bmm dot matmul": "x @ w is a product of matrices",
        "float double half long int bool type": 'x.astype("float32") has another type',
        "clone copy": "x itself does not change, so it needs no copy; np.array(x) is an array",
        "zero_grad": "x.backward() sets gradients afresh each time",
        "eval": "a refnet.Session runs a graph: refnet.Session().run(x)",
        "assign assign_add assign_sub fill_ copy_ add_ sub_ mul_ zero_": _CHANGES,
    },
    "Model": {
        "state_dict load_state_dict save save_weights load_weights load": _STORED,
        "train eval forward": _TRAINING,
        "cuda cpu": _MOVE,
        "zero_grad": "model.fit takes care of gradients; refnet.gradients(loss, model.weights) are new",
        "predict_classes predict_proba": "model.predict(x) are probabilities, "
        "model.predict(x).argmax(-1) classes",
        "fit_generator": "model.fit(x, y), or model.train_on_batch(x, y) for one batch",
        "named_parameters": "model.weights are the variables, each with its name",
    },
    "Optimizer": {
        "step": "optimizer.apply_gradients([(g, w), ...]) takes a step",
        "zero_grad": "nothing is kept: refnet.gradients(loss, [w]) are new each time",
        "lr param_groups": _RATE,
    },
}


def explain(module: str) -> None:
    """Give a module a ``__getattr__`` that explains what it is asked for and does not have."""
    here = vars(sys.modules[module])

    def asked(name: str) -> Any:
        known = here.get("__all__") or (n for n in here if _made(here[n], module))
        raise missing(module, name, known)

    here["__getattr__"] = asked


def _made(thing: Any, module: str) -> bool:
    """Whether a module defines something itself, or makes it: an op, a class of a function."""
    places = (module, "refnet.ops.", *(["refnet.base.names"] if isinstance(thing, type) else []))
    return str(getattr(thing, "__module__", "")).startswith(places)


class Explained:
    """A class whose missing attributes are explained, by the table or by the nearest ones."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker knows what is missing

        def __getattr__(self, name: str) -> Any:
            if name[0] == "_":  # the quick way: np.asarray asks each tensor for three of these
                raise AttributeError(f"{type(self).__name__} has no {name}")
            raise MissingNameError(_missing_from(type(self), name))


@functools.lru_cache(maxsize=256)
def _missing_from(kind: type, name: str) -> str:
    owner = next((c.__name__ for c in kind.__mro__ if c.__name__ in WORDS), "")
    return _explanation(owner, name, dir(kind), kind.__name__)


def missing(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module does not have.

    >>> missing("refnet", "GradientTape", [])
    MissingNameError('refnet has no GradientTape: every tensor records what made it, without a tape: \
refnet.gradients(loss, [w])')
    """
    if name[0] == "_":  # Python and IPython ask for many of these
        return AttributeError(f"{module} has no {name}")
    return MissingNameError(_explanation(module, name, known, module))


def _explanation(owner: str, name: str, known: Iterable[str], kind: str) -> str:
    known = [n for n in known if n[0] != "_"]
    for names, sentence in WORDS.get(owner, {}).items():
        if name in names.split():
            return f"{kind} has no {name}: {sentence}"
    place = _place(owner, name)
    if place and name.lower() not in map(str.lower, known):
        return f"{kind} has no {name}: {place}"
    return str(unknown_name(f"attribute of {kind}", name, known))


def explained(owner: str, name: str) -> bool:
    """Whether the table has a name, of another library, for an owner."""
    return any(name in names.split() for names in WORDS.get(owner, {}))


def _place(owner: str, name: str) -> str:
    """Where refnet or NumPy has something of this name; "" if nowhere."""
    if owner == "Tensor":
        if name in vars(sys.modules["refnet.ops"])["TABLE"]:
            return f"refnet.ops.{name}(x)"
        if hasattr(np.ndarray, name):
            return f"x.numpy().{name} is that of NumPy's array, through which no gradients flow"
    elif owner.startswith("refnet"):
        for room in ROOMS:
            if name in vars(importlib.import_module(f"refnet.{room}")):
                return f"refnet.{room}.{name}"
    return ""

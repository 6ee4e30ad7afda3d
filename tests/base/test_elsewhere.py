"""Names of other libraries: an AttributeError that says what there is here, which has to exist."""

import copy
import importlib
import inspect
import pickle
import re

import numpy as np
import pytest

import refnet
from refnet.autograd.tensor import Tensor
from refnet.autograd.variable import Variable
from refnet.base import elsewhere
from refnet.errors import CallError, GraphError, MissingNameError, RefnetError
from refnet.optimizers import SGD, Optimizer

MODULES = [owner for owner in elsewhere.WORDS if owner.startswith("refnet")]
SENTENCES = sorted({s for words in elsewhere.WORDS.values() for s in words.values()})
#: what a letter or a word of a sentence stands for
STANDS_FOR = {
    "x": Tensor,
    "w": Variable,
    "model": refnet.Sequential,
    "optimizer": Optimizer,
    "np": np,
}


def thing(owner):
    """A module, or an object of a class."""
    if owner in MODULES:
        return importlib.import_module(owner)
    model = refnet.Sequential([refnet.layers.Dense(1)])
    objects = {"Tensor": refnet.tensor([1.0]), "Model": model, "Optimizer": SGD(0.1)}
    return objects[owner]


@pytest.mark.parametrize("owner", elsewhere.WORDS)
def test_names_of_others_are_explained(owner):
    for names, sentence in elsewhere.WORDS[owner].items():
        for name in names.split():
            if hasattr(thing(owner), name):  # a Variable has what a Tensor has not
                continue
            with pytest.raises(AttributeError) as caught:
                getattr(thing(owner), name)
            assert isinstance(caught.value, RefnetError)
            assert str(caught.value).endswith(f" has no {name}: {sentence}")


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_a_sentence_recommends_exists(sentence):
    found = 0
    for name in re.findall(r"\brefnet((?:\.\w+)+)", sentence):
        reached = refnet
        for part in name[1:].split("."):
            reached = getattr(reached, part)
        found += 1
    for word, attribute in re.findall(r"\b(x|w|model|optimizer|np)\.(\w+)", sentence):
        assert hasattr(STANDS_FOR[word], attribute), f"{word}.{attribute}"
        found += 1
    assert found or re.search(r"\bx\[|x @ w|model\(x", sentence), "a sentence names what to write"


@pytest.mark.parametrize("owner", [*elsewhere.WORDS, "refnet.losses"])
def test_probing_finds_nothing_and_says_so(owner):
    asked = thing(owner)
    for name in ("_repr_html_", "_ipython_display_", "__wrapped__", "__nonsense__"):
        assert not hasattr(asked, name)
        with pytest.raises(AttributeError) as caught:
            getattr(asked, name)
        assert type(caught.value) is AttributeError
    assert not hasattr(asked, "quixotic")
    assert getattr(asked, "quixotic", 3) == 3
    assert "quixotic" not in dir(asked)
    inspect.getmembers(asked if owner in MODULES else type(asked), inspect.isfunction)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: refnet.plcaeholder, "attribute of refnet .*did you mean 'placeholder'"),
        (lambda: refnet.layers.Dens, "did you mean 'Dense'"),
        (lambda: refnet.layers.Conv3D, "Known: .*Dense"),
        (lambda: refnet.losses.MeanSquareError, "did you mean 'MeanSquaredError'"),
        (lambda: refnet.optimizers.adam, "did you mean 'Adam'"),
        (lambda: refnet.activations.rleu, "did you mean 'relu'"),
        (lambda: refnet.metrics.Acuracy, "did you mean 'Accuracy'"),
        (lambda: refnet.relu, r"refnet has no relu: refnet\.activations\.relu"),
        (lambda: refnet.Dense, r"refnet has no Dense: refnet\.layers\.Dense"),
        (lambda: refnet.matmul, r"refnet\.ops\.matmul"),
        (lambda: refnet.tensor(1.0).resahpe, "did you mean 'reshape'"),
        (lambda: refnet.tensor(1.0).sigmoid, r"refnet\.ops\.sigmoid\(x\)"),
        (lambda: refnet.tensor(1.0).cumsum, r"x\.numpy\(\)\.cumsum .* no gradients"),
        (lambda: refnet.Variable(1.0).cuda, r"Variable has no cuda: .*\"triton\""),
        (lambda: SGD(0.1).stpe, "attribute of SGD 'stpe'"),
    ],
)
def test_other_names_lead_to_the_nearest(ask, message):
    with pytest.raises(MissingNameError, match=message) as caught:
        ask()
    assert "_" not in {n[0] for n in re.findall(r"Known: (.*)", str(caught.value))}


def test_copies_and_pickles():
    x, w = refnet.tensor([1.0, 2.0]), refnet.Variable([3.0])
    np.testing.assert_array_equal(copy.copy(x).numpy(), x.numpy())
    np.testing.assert_array_equal(copy.deepcopy(w).numpy(), w.numpy())
    assert copy.deepcopy(thing("Model")).layers[0].units == 1
    assert copy.deepcopy(SGD(0.5)).learning_rate == 0.5
    error = pickle.loads(pickle.dumps(MissingNameError("refnet has no x")))
    assert str(error) == "refnet has no x"


def test_a_tensor_is_made_by_a_function():
    for wrong in (lambda: Tensor([1.0]), lambda: Tensor(np.ones(2))):
        with pytest.raises(CallError, match=r"refnet\.tensor\(values\)"):
            wrong()


def test_minimize_says_what_to_write_outside_of_a_graph():
    w, optimizer = refnet.Variable(5.0, name="w"), SGD(0.25)
    for loss in (lambda: (w - 1.0) ** 2, (w - 1.0) ** 2, 3.0):
        with pytest.raises(GraphError, match=r"waits in a graph.*apply_gradients"):
            optimizer.minimize(loss, [w])
    variables = [w]
    loss = (w - 1.0) ** 2
    gs = refnet.gradients(loss, variables)
    optimizer.apply_gradients(list(zip(gs, variables, strict=True)))
    assert w.numpy() == 3.0

"""Names of PyTorch and Transformers are errors that give the line to write, and those lines exist."""

import copy
import pickle
import re

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F
from tinygrad_llm.other_names import INSTEAD

CONFIG = tg.TransformerConfig.gpt2(vocab_size=256, context=8, layers=1, heads=1, width=4)
tokenizer = tg.Tokenizer.train("", 256)
model = tg.LanguageModel(tg.Transformer(CONFIG, seed=0), tokenizer)
PLACES = {"nn": nn, "nn.functional": F, "optim": tg.optim, "Tokenizer": tokenizer, "LanguageModel": model}
NAMES = {"tg": tg, "nn": nn, "F": F, "tokenizer": tokenizer, "model": model}
ROWS = [(place, name) for place, names in INSTEAD.items() for name in names]


@pytest.mark.parametrize(("place", "name"), ROWS)
def test_the_error_says_what_to_write(place, name):
    with pytest.raises(AttributeError, match=re.escape(f"{place} has no '{name}': write {INSTEAD[place][name]}")):
        getattr(PLACES[place], name)


@pytest.mark.parametrize(("place", "name"), ROWS)
def test_what_it_says_exists(place, name):
    names = NAMES | {"model": model.network} if place in ("nn", "optim") else NAMES
    for path in re.findall(r"\b(?:tg|nn|F|tokenizer|model)(?:\.\w+)+", INSTEAD[place][name]):
        thing = names[path.split(".")[0]]
        for part in path.split(".")[1:]:
            if part != "backward":  # of what the call before it returns
                assert hasattr(thing, part), path
                thing = getattr(thing, part)


def test_classes_say_it_too():
    with pytest.raises(AttributeError, match=r"tg\.load\(name\)"):
        tg.LanguageModel.from_pretrained("gpt2")
    with pytest.raises(TypeError, match=r"tokenizer\.encode\(text\)"):
        tokenizer("To be")


@pytest.mark.parametrize("thing", [*PLACES.values(), tg.Tokenizer])
def test_unknown_names_are_ordinary_errors(thing):
    assert not hasattr(thing, "no_such_name") and not hasattr(thing, "__no_such_name__")


def test_what_says_other_names_can_be_copied():
    for one in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert one.encode("abc") == tokenizer.encode("abc")


@pytest.mark.parametrize("change", ["w += 1", "w -= 1", "w *= 2", "w /= 2"])
def test_a_parameter_is_not_changed_by_an_operator_that_would_leave_it(change):
    w = tg.Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(InputError, match=r"write w\.data -= lr \* w\.grad\.data"), tg.no_grad():
        exec(change, {"w": w})
    total = w * 2
    total += w
    total *= 3.0
    assert total.tolist() == [9.0, 9.0]
    plain = tg.Tensor([1.0])
    plain -= 3.0
    assert plain.tolist() == [-2.0]


def test_the_gradient_of_a_result_is_not_that_of_a_function():
    w = tg.Tensor(np.ones(2), requires_grad=True)
    with pytest.raises(InputError, match=r"tg\.gradients\(result, tensors\)"):
        tg.grad((w * w).sum(), w)

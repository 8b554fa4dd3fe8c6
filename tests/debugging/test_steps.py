"""Walking through backpropagation: complete, in the engine's order, and exactly undone by walking back."""

import doctest
import io

import numpy as np
import pytest
from rich.console import Console

from tinygrad_llm.autograd import Tensor, ops, recompute
from tinygrad_llm.autograd.recompute import checkpoint
from tinygrad_llm.debugging import bad_values
from tinygrad_llm.debugging import steps as steps_module
from tinygrad_llm.debugging.lines import lines_of, remember_lines
from tinygrad_llm.debugging.steps import rule_of, steps, without_docstring
from tinygrad_llm.errors import InputError
from tinygrad_llm.nn import functional as F


def network():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3))
    W1, W2 = (
        Tensor(rng.standard_normal((3, 5)), requires_grad=True),
        Tensor(rng.standard_normal((5, 1)), requires_grad=True),
    )
    with remember_lines():
        hidden = ops.tanh(x @ W1)
        y = hidden @ W2  # a line that is shown
        loss = (y * y).mean()
    return steps(loss), loss, W1, W2


def test_the_ops_in_the_order_of_the_walk():
    walk, *_ = network()
    assert [step.op for step in walk] == ["mean", "multiply", "matmul", "tanh", "matmul"]
    assert [step.number for step in walk] == [1, 2, 3, 4, 5] and len(walk) == 5
    assert walk[2].call == "y = matmul(hidden, W2)"


def test_at_the_end_the_gradients_are_those_of_backward():
    walk, loss, W1, W2 = network()
    walk.forward(len(walk))
    found = walk.gradients
    assert W1.grad is None  # the walk touched nothing
    loss.backward()
    np.testing.assert_allclose(found["W1"], W1.grad.data, rtol=1e-14)
    np.testing.assert_allclose(found["W2"], W2.grad.data, rtol=1e-14)


def test_each_step_is_the_rule_on_what_arrived():
    walk, *_ = network()
    tanh = walk[3]
    np.testing.assert_array_equal(tanh.gradients[0], tanh.g * (1.0 - tanh.value * tanh.value))
    assert tanh.rule == "def tanh_vjp(g, out, x):\n    return (g * (1.0 - out * out),)"
    assert tanh.rule_place.startswith("basic.py:")
    assert "1 - tanh(x)²" in tanh.formula


def test_back_undoes_a_step_exactly():
    walk, *_ = network()
    states = []
    for _ in range(len(walk) + 1):
        states.append((walk.position, walk.step, walk.gradients, repr(walk)))
        walk.forward()
    walk.forward(99)
    assert walk.position == len(walk)
    for position, step, gradients, text in reversed(states):
        assert walk.position == position and walk.step is step and repr(walk) == text
        assert walk.gradients.keys() == gradients.keys()
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(walk.gradients[name], gradient)
        walk.back()
    assert walk.back(99).position == 0


def test_a_tensor_used_twice_receives_twice():
    walk, *_ = network()
    text = repr(walk.forward(2))
    assert text.count("dloss/dy +=") == 2 and text.count("which makes") == 1
    np.testing.assert_array_equal(walk.gradients["y"], 2 * walk.step.gradients[0])


def test_the_text_has_all_that_a_reader_needs():
    walk, *_ = network()
    assert repr(walk).startswith("before step 1 of 5: dloss/dloss = 1.")
    text = repr(walk.forward(3))
    assert text.startswith("step 3 of 5: matmul\ny = matmul(hidden, W2)\ncalled at test_steps.py:")
    assert "y = hidden @ W2  # a line that is shown" in text
    assert "rule at basic.py:" in text and "def matmul_vjp(g, out, x, y):" in text
    assert "dloss/dhidden += array of shape (4, 5)" in text and "dloss/dW2 += " in text


def test_in_a_terminal():
    walk, *_ = network()
    out = io.StringIO()
    answers = iter(["", "", "b", "q"])
    walk.explore(read=lambda prompt: next(answers), console=Console(file=out, width=100))
    text = out.getvalue()
    titles = [line.strip("╭╮─ ") for line in text.splitlines() if line.startswith("╭")]
    assert titles == ["steps", "step 1 of 5: mean", "step 2 of 5: multiply", "step 1 of 5: mean"]
    assert walk.position == 1


def test_in_a_notebook():
    walk, *_ = network()
    for _ in range(len(walk) + 1):
        page = walk._repr_html_()
        assert page.count("<svg") == 1 and page.count("stroke-width='3'") == 1
        walk.forward()
    assert "<b>step 5 of 5: matmul</b>" in page and "def matmul_vjp(g, out, x, y):" in page


def test_a_gradient_and_names_are_taken():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    walk = steps(x * 3.0, gradient=[1.0, 10.0], names={"input": x})
    assert walk.forward().gradients["input"].tolist() == [3.0, 30.0]


def test_large_arrays_are_summarised():
    x = Tensor(np.linspace(0.0, 1.0, 100), requires_grad=True)
    assert "array of shape (100,), from 2 to 2" in repr(steps((x * 2.0).sum()).forward(2))


def test_the_rule_of_a_fused_op_is_its_definition():
    text, place = rule_of(F.rms_norm)
    assert text.startswith("# fused") and "ops.sqrt(ops.mean(x * x" in text and '"""' not in text
    assert place.startswith("functional.py:")


def test_a_rule_without_source_is_no_fault():
    namespace = {}
    exec("def made_up(x):\n    return x * x", namespace)  # as in a prompt: no file holds it
    x = Tensor([3.0], requires_grad=True)
    text = repr(steps(checkpoint(namespace["made_up"])(x).sum()).forward(2))
    assert "not at hand" in text and "dsum_1/dx += [6.]" in text


def test_docstrings_and_decorators_are_left_out():
    assert without_docstring(
        '@d\ndef f(x):\n    """What.\n\n    More.\n    """\n    y = x  # keep\n    return y\n'
    ) == ("def f(x):\n    y = x  # keep\n    return y")
    assert without_docstring("f = lambda x: (x\n") == "f = lambda x: (x"


def test_lines_are_kept_only_where_asked():
    x = Tensor([1.0], requires_grad=True)
    y = x * 2.0
    with remember_lines():
        z = x * 2.0  # here
    assert lines_of(y) == () and lines_of(x) == ()
    (line,) = lines_of(z)
    assert line.text == "z = x * 2.0  # here" and line.function == "test_lines_are_kept_only_where_asked"


def test_a_line_inside_the_package_and_the_users_line():
    from tinygrad_llm.nn.layers import RMSNorm

    norm = RMSNorm(3, 1e-5)
    with remember_lines():
        y = norm(Tensor(np.ones((2, 3), np.float32)))
    inner, outer = lines_of(y)
    assert inner.file.endswith("layers.py") and "rms_norm" in inner.text
    assert outer.file == __file__ and outer.text.startswith("y = norm(")


def test_mistakes_say_what_to_do():
    with pytest.raises(InputError, match="no history"):
        steps(Tensor([1.0]))
    with pytest.raises(InputError, match="single number"):
        steps(Tensor([1.0, 2.0], requires_grad=True) * 2.0)


def test_examples_in_the_docstrings_run():
    names = {"np": np, "Tensor": Tensor, "ops": ops}
    for module in (steps_module, bad_values, recompute):
        result = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
        assert result.attempted > 1 and result.failed == 0

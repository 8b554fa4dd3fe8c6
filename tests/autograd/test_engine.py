"""The backward pass: order, sums, freeing, hooks, total derivatives, and that long chains neither recurse nor leak."""

import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

from tinygrad_llm.autograd import Tensor, no_grad, primitive
from tinygrad_llm.autograd.engine import topological_order
from tinygrad_llm.autograd.functional import gradients
from tinygrad_llm.autograd.subgraph import leading_to
from tinygrad_llm.errors import InputError


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def test_a_tensor_used_twice_gets_both_gradients():
    a = leaf(3.0)
    b = a + a
    c = b + b
    c.sum().backward()
    assert a.grad.data.tolist() == [4.0]


def test_a_diamond_waits_for_the_longer_path():
    a = leaf(2.0)
    short, long = a * 3.0, ((a * 2.0) * a).tanh()
    (short * long).sum().backward()
    inner = np.tanh(8.0)
    assert a.grad.data[0] == pytest.approx(3 * inner + 6.0 * (1 - inner**2) * 8.0, rel=1e-14)


def test_inputs_come_before_outputs_and_each_once():
    a = leaf(1.0)
    b = a * 2.0
    c = (b + a) * b
    order = topological_order([c])
    place = {id(x): i for i, x in enumerate(order)}
    assert len(place) == len(order)
    for x in order:
        for y in x.node.inputs if x.node else ():
            if isinstance(y, Tensor):
                assert place[id(y)] < place[id(x)]


def test_the_order_stops_where_it_is_told():
    a = leaf(1.0)
    b = a * 2.0
    c = b * 3.0
    assert [id(x) for x in topological_order([c], {id(b)})] == [id(b), id(c)]


def test_only_what_leads_to_the_ends_is_passed():
    a, other = leaf(1.0), leaf(1.0)
    b, side = a * 2.0, other * 5.0
    c = b + side
    assert [id(x) for x in leading_to(topological_order([c]), {id(a)})] == [id(a), id(b), id(c)]


def test_a_shared_gradient_is_not_written_into():
    """`add` hands one array to both inputs: the sum that x gets must not reach y."""
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    ((x + y) + x + x).sum().backward()
    assert x.grad.data.tolist() == [3.0, 3.0]
    assert y.grad.data.tolist() == [1.0, 1.0]


def test_gradients_add_up_over_backward_calls_and_own_their_memory():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.data.tolist() == [6.0, 12.0]
    assert x.grad.data.flags.writeable and x.grad.data.base is None


def test_the_backward_pass_starts_from_a_given_gradient():
    x = leaf(1.0, 2.0)
    (x * x).backward([1.0, 10.0])
    assert x.grad.data.tolist() == [2.0, 40.0]


def test_each_input_gets_its_own_precision_back():
    single, double = leaf(2.0, dtype=np.float32), leaf(3.0)
    (single * double).sum().backward()
    assert single.grad.dtype == np.float32 and double.grad.dtype == np.float64
    assert single.grad.data[0] == 3.0 and double.grad.data[0] == 2.0


def test_retain_graph_allows_a_second_pass():
    x = leaf(1.5)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.data[0] == 6.0


RULES = {
    "a bare array": (lambda g, out, x, y: g * y, r"returned a ndarray; it must return a tuple.*there are 2"),
    "too few": (lambda g, out, x, y: (g * y,), r"the op 'product' returned 1 gradients; it must.*there are 2"),
    "not summed": (lambda g, out, x, y: (g * y, g * x), r"of shape \(3, 2\) for input 2, of shape \(2,\)"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_returns_something_else_is_named(name):
    @primitive
    def product(x, y):
        return x * y

    rule, message = RULES[name]
    product.vjp(rule)
    x, y = Tensor(np.ones((3, 2)), requires_grad=True), leaf(1.0, 2.0)
    with pytest.raises(InputError, match=message):
        product(x, y).sum().backward()
    assert y.grad is None
    if name == "not summed":
        product(x, 2.0).sum().backward()  # what nobody wants may have any shape
        assert x.grad.data.tolist() == [[2.0, 2.0]] * 3


# --- hooks ----------------------------------------------------------------------------------------------------


def test_a_hook_sees_the_whole_gradient_once_and_may_change_it():
    x = leaf(1.0, 2.0)
    y = x * 2.0
    seen = []
    y.register_hook(lambda g: seen.append(g.data.copy()))
    y.register_hook(lambda g: g * 10.0)
    (y.sum() + (y * y).sum()).backward()
    assert len(seen) == 1 and seen[0].tolist() == [5.0, 9.0]
    assert x.grad.data.tolist() == [100.0, 180.0]


def test_a_hook_on_a_leaf_acts_before_the_gradient_is_stored():
    x = leaf(1.0)
    x.register_hook(lambda g: g * 0.0)
    (x * 5.0).sum().backward()
    assert x.grad.data[0] == 0.0


def test_a_removed_hook_is_silent():
    x = leaf(1.0)
    handle = x.register_hook(lambda g: g * 0.0)
    kept = x.register_hook(lambda g: g * 2.0)
    handle.remove()
    handle.remove()
    (x * 5.0).sum().backward()
    assert x.grad.data[0] == 10.0
    kept.remove()


def test_a_hook_works_at_second_order():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * 3.0)
    slope = gradients((y * y).sum(), x, create_graph=True)  # 3 · 2y · 2x
    assert slope.data[0] == 96.0
    directly, through_y = 12.0 * 4.0, 3.0 * 24.0 * 4.0  # the hook acts again on what comes back to y
    assert gradients(slope.sum(), x).data[0] == directly + through_y


def test_a_hook_of_another_shape_is_refused():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(InputError, match=r"register_hook.*shape \(\).*shape \(2,\)"):
        (x * 1.0).sum().backward()


def test_a_hook_on_a_frozen_tensor_is_refused():
    with pytest.raises(InputError, match="requires_grad"):
        Tensor([1.0]).register_hook(lambda g: None)


# --- long chains ----------------------------------------------------------------------------------------------

LONG = 10_000


def chain(x, length):
    for _ in range(length):
        x = x * 1.0001
    return x


def test_ten_thousand_ops_do_not_recurse():
    x = leaf(1.0)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)  # pytest's own depth is far below, a recursion over the chain far above
    try:
        with_depth = chain(x, LONG)
        with_depth.sum().backward()
        del with_depth
    finally:
        sys.setrecursionlimit(limit)
    assert x.grad.data[0] == pytest.approx(1.0001**LONG, rel=1e-9)


def test_a_chain_is_freed_during_the_pass_and_afterwards():
    x = leaf(*range(1000))
    y = chain(x, 50)
    middle = weakref.ref(y.node.inputs[0].node.inputs[0])
    y.sum().backward()
    gc.disable()
    try:
        assert middle() is None  # by reference counts alone: there is no cycle
    finally:
        gc.enable()


def test_an_unused_chain_of_a_hundred_thousand_is_freed_without_recursion():
    x = leaf(1.0)
    y = chain(x, 10 * LONG)
    first = weakref.ref(topological_order([y])[1])
    del y
    assert first() is None


def test_repeated_steps_do_not_grow():
    x = leaf(*range(100))

    def step():
        chain(x, 100).sum().backward()
        x.zero_grad()

    for _ in range(5):
        step()
    tracemalloc.start()
    try:
        step()
        gc.collect()  # also empties the interpreter's lists of freed objects
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 20_000  # bytes; every step that leaked would hold 100 × 800


def test_memory_of_a_long_chain_shrinks_during_the_pass():
    """The peak of backward stays near what the forward pass holds: nodes are let go as the gradient passes."""
    x = leaf(*range(10_000))
    tracemalloc.start()
    try:
        y = chain(x, 100).sum()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.backward()
        peak = tracemalloc.get_traced_memory()[1]
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held > 100 * 80_000
    assert peak < held + 6 * 80_000
    assert after < 4 * 80_000


def test_nothing_is_recorded_inside_no_grad():
    x = leaf(1.0)
    with no_grad():
        y = x * 2.0
    assert y.node is None and not y.requires_grad

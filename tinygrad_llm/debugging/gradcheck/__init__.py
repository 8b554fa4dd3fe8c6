"""Checking gradients by moving the inputs a little, and saying what is wrong where they differ.

A derivative can be had without any rule: change an input by ±h, and see how the result changes. It is slow and
a little inexact, but it is independent of the rules, so it can judge them. `gradcheck` compares the two for every
element and in a random direction, for the gradient (order 1) and for the gradient of the gradient (order 2), in
float64. Where they differ, it looks for the op that is wrong, and for the reason.

    >>> from tinygrad_llm.autograd import ops
    >>> import numpy as np
    >>> print(gradcheck(ops.tanh, [np.array([0.5, -1.0])]))
    gradients agree: 1 input, 2 elements, orders 1 and 2, largest relative difference 1e-10 or less

Read in this order: `check` is the check itself, `problem` the checked function at one point, `differences` how far to
move and when two numbers are the same, `report` what comes out, with the table of all diagnoses. Then why a gradient
is wrong: `local` takes one op out of the graph, `contracts` is what its rule must never do, `bends` where there is no
derivative; `wrong_rule` looks for the op and `explanations` for the reason, `wrong_second` for both at order 2.

Comes before: `engine` (the gradients that are checked). Comes after: whoever writes an op. Left out on purpose:
complex numbers, sparse arrays, forward mode.
"""

from tinygrad_llm.debugging.gradcheck.check import gradcheck
from tinygrad_llm.debugging.gradcheck.report import Finding, GradientError, Report

__all__ = ["Finding", "GradientError", "Report", "gradcheck"]

"""Instruments for the core: check gradients, draw and step through a computation, find bad values, measure time.

Builds on: `autograd`, of which nothing imports this. Used by: `pictures` and the command `tinygrad-llm profile`.
"""

from tinygrad_llm.debugging.bad_values import find_bad_values
from tinygrad_llm.debugging.lines import remember_lines

"""Text of a given shape: only tokens after which it can still match remain.

Read in this order: `expressions` says what a shape is, `characters` spells characters as bytes, `regular_expressions`
and `json_schema` are the two notations, `automaton` reads along a shape, `vocabulary` leads all tokens through it at
once, `constraint` is the sampler stage.
"""

from tinygrad_llm.generation.constraints.constraint import Constraint, ConstraintProcessor
from tinygrad_llm.generation.constraints.expressions import Expression
from tinygrad_llm.generation.constraints.json_schema import Schema, json_schema
from tinygrad_llm.generation.constraints.regular_expressions import regular_expression
from tinygrad_llm.generation.constraints.vocabulary import Vocabulary

__all__ = [
    "Constraint",
    "ConstraintProcessor",
    "Expression",
    "Schema",
    "Vocabulary",
    "json_schema",
    "regular_expression",
]

"""What each fast pair accepts: the shapes and dtypes that it is written for.

Anything else, such as a weight that broadcasts, mixed precision, integers, or shapes that do not fit, goes to the
definition, which computes it or says what is wrong with it. So both ways accept the same and raise the same errors.

Each function takes what the op takes. Used by: the files of this folder.
"""

import numpy as np


def are_floats(*xs):
    """Whether all are NumPy arrays of one floating-point dtype; None stands for an input that was left out."""
    dtypes = [x.dtype if type(x) is np.ndarray else None for x in xs if x is not None]
    return dtypes[0] is not None and dtypes[0].kind == "f" and all(dtype == dtypes[0] for dtype in dtypes)


def are_integers(x):
    return type(x) is np.ndarray and x.dtype.kind in "iu"


def numbers(x):
    return are_floats(x)


def rows(x):
    return are_floats(x) and x.ndim > 0 and x.shape[-1] > 0


def gate(gate, up):
    return are_floats(gate, up) and gate.shape == up.shape


def norm(x, weight, bias=None, *, eps=1e-5):
    fits = rows(x) and are_floats(x, weight, bias) and weight.shape == x.shape[-1:]
    return fits and (bias is None or bias.shape == weight.shape)


def linear(x, weight, bias=None):
    fits = are_floats(x, weight, bias) and x.ndim > 0 and weight.ndim == 2 and x.shape[-1] == weight.shape[1]
    return fits and (bias is None or bias.shape == weight.shape[:1])


def lora_linear(x, weight, A, B, bias=None, *, scale):
    return (
        linear(x, weight, bias)
        and are_floats(x, A, B)
        and A.ndim == B.ndim == 2
        and A.shape == (B.shape[1], weight.shape[1])
        and B.shape[0] == weight.shape[0]
    )


def embedding(weight, ids):
    return rows(weight) and weight.ndim == 2 and are_integers(ids)


def token_losses(logits, targets):
    return rows(logits) and are_targets(targets, logits.shape[:-1], logits.shape[-1])


def linear_cross_entropy(x, weight, targets):
    return linear(x, weight) and weight.shape[0] > 0 and are_targets(targets, x.shape[:-1], weight.shape[0])


def are_targets(targets, shape, vocab_size):
    """Whether they are integers of this shape below vocab_size; negative ones do not count."""
    return are_integers(targets) and targets.shape == shape and (targets.size == 0 or int(targets.max()) < vocab_size)


def rotary(x, cos, sin):
    if not (are_floats(x, cos, sin) and x.ndim == 4 and cos.shape == sin.shape):
        return False
    B, T, _, D = x.shape
    return D % 2 == 0 and cos.shape in ((T, D // 2), (B, T, D // 2))


def causal_attention(q, k, v, *, window=None, scale=None, **others):
    if not (are_floats(q, k, v) and q.ndim == k.ndim == v.ndim == 4 and k.shape[:3] == v.shape[:3]):
        return False
    (B, T, H, D), (keys_B, S, K, keys_D) = q.shape, k.shape
    fits = keys_B == B and keys_D == D and D > 0 and K > 0 and 0 < T <= S and H % K == 0
    first = others.get("starts", others.get("padding"))  # where the text of each row begins
    return fits and (window is None or window > 0) and (first is None or np.shape(first) == (B,))


def dropped(x, draws, **rate):
    return are_floats(x) and are_integers(draws) and draws.shape == x.shape

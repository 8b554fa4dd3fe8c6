"""Lines that users of PyTorch, NumPy and Transformers write on meeting this library: they work, or say what to write.

Each row: what was set up, the line, and what must come of it. That is an expression, in which `_` is the value of the
line, `said` what it said and `plain` makes an array of anything; or "says: …", which the message must contain.
"""

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn, optim
from tinygrad_llm.nn import functional as F

GRADIENTS = "x = tg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)"
VALUES = "x = tg.Tensor(np.arange(6.0).reshape(2, 3))"
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 2)
    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))
"""
BATCH = """
x = tg.Tensor(np.random.default_rng(0).standard_normal((5, 4)))
y = np.array([0, 1, 0, 1, 1])
"""
MODEL = """
text = "To be, or not to be, that is the question. " * 40
tokenizer = tg.Tokenizer.train(text, vocab_size=280)
config = tg.TransformerConfig.llama(vocab_size=tokenizer.vocab_size, context=32, layers=2, heads=2, width=16)
network = tg.Transformer(config, seed=0)
model = tg.LanguageModel(network, tokenizer)
"""

PYTORCH = [
    ("", "x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)", "x.requires_grad and x.shape == (3,)"),
    ("", "x = tg.zeros(2, 3)", "x.shape == (2, 3)"),
    ("", "x = tg.ones((2, 3), dtype=tg.float32)", 'says: "float32"'),
    ("", "tg.manual_seed(0); x = tg.randn(2, 3)", "says: tg.randn(shape, seed=0)"),
    ("", "x = tg.rand(2, 3, requires_grad=True)", "x.shape == (2, 3) and x.requires_grad"),
    ("", "x = tg.arange(10)", "x.shape == (10,)"),
    ("", "x = tg.full((2, 2), 7.0)", "float(x.sum().item()) == 28"),
    ("", "x = tg.from_numpy(np.ones(3))", "says: tg.Tensor(array)"),
    ("", "x = tg.randint(0, 10, (4, 5))", "x.shape == (4, 5)"),
    (GRADIENTS, "x.size(0), x.dim(), x.numel()", "says: tensor.shape[0]"),
    (GRADIENTS, "x.view(3, 2).permute(1, 0).contiguous().unsqueeze(0).squeeze(0)", "says: tensor.reshape(2, 3)"),
    (GRADIENTS, "x.view(-1)", "says: tensor.reshape(2, 3)"),
    (GRADIENTS, "tg.matmul(x, x.T)", "says: tg.ops.matmul"),
    (GRADIENTS, "tg.cat([x, x], dim=0)", "says: ops.concatenate([x, y]"),
    (GRADIENTS, "tg.stack([x, x], dim=1)", "says: tg.ops.stack"),
    (GRADIENTS, "x.sum(dim=-1, keepdim=True)", "says: axis="),
    (GRADIENTS, "x.mean(dim=0)", "says: axis="),
    (GRADIENTS, "x.softmax(dim=-1)", "says: axis="),
    (GRADIENTS, "F.softmax(x, dim=-1).argmax(dim=-1)", "says: axis="),
    (GRADIENTS, "values, indices = x.max(dim=-1)", "says: axis="),
    (GRADIENTS, "values, indices = x.topk(2)", "says: ops.topk(tensor, k)"),
    (GRADIENTS, "loss = F.cross_entropy(x, tg.tensor([0, 2])); loss.backward()", "x.grad.shape == (2, 3)"),
    (GRADIENTS, "loss = F.mse_loss(x, tg.zeros(2, 3)); loss.item()", "_ > 0"),
    (GRADIENTS, "(x ** 2).sum().backward(); x.grad", "np.allclose(plain(x.grad), 2 * np.arange(6).reshape(2, 3))"),
    (GRADIENTS, "(x * 2).backward(gradient=tg.ones(2, 3))", "np.allclose(plain(x.grad), 2)"),
    (GRADIENTS, "(g,) = tg.autograd.grad((x ** 2).sum(), x)", "says: tg.gradients(result, tensors)"),
    (GRADIENTS, "x.detach().cpu().numpy()", 'says: tensor.to("cpu")'),
    (
        GRADIENTS,
        """
with tg.no_grad():
    y = x * 2
""",
        "not y.requires_grad",
    ),
    ("", "w = tg.randn(3, 3).requires_grad_()", "w.requires_grad"),
    (
        """
w = tg.Tensor(np.ones(3), requires_grad=True)
(w * 2).sum().backward()
""",
        """
with tg.no_grad():
    w -= 0.1 * w.grad
    w.grad.zero_()
""",
        "says: w.data -=",
    ),
    (GRADIENTS, "x.to('cuda' if tg.cuda.is_available() else 'cpu')", 'says: "cuda"'),
    (GRADIENTS, "x.half().float().double().dtype", 'says: tensor.astype("float16")'),
    (GRADIENTS, "x.masked_fill(tg.tril(tg.ones(2, 3)) == 0, float('-inf'))", "says: tg.ops.tril"),
    (
        "q = tg.Tensor(np.random.default_rng(0).standard_normal((1, 2, 4, 8)))",
        "F.scaled_dot_product_attention(q, q, q, is_causal=True)",
        "says: F.attention(q, k",
    ),
    (NET + BATCH, "net = Net(); out = net(x)", "out.shape == (5, 2)"),
    (NET + BATCH, "print(Net())", "'fc1' in said and 'Linear' in said"),
    (
        BATCH,
        """
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
net(x)
""",
        "says: a class with a forward",
    ),
    (NET, "[(n, p.shape) for n, p in Net().named_parameters()]", "len(_) == 4"),
    (NET, "sum(p.numel() for p in Net().parameters() if p.requires_grad)", "says: tensor.size"),
    (
        NET + BATCH,
        """
net = Net()
optimizer = optim.AdamW(net.parameters(), lr=1e-1, betas=(0.9, 0.95), weight_decay=0.0)
first = None
for epoch in range(30):
    optimizer.zero_grad()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    first = first or loss.item()
""",
        "says: tg.optim.clip_grad_norm_(model.parameters()",
    ),
    (
        NET,
        """
opt = tg.optim.SGD(Net().parameters(), lr=0.1, momentum=0.9)
sched = tg.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=100)
sched.step()
""",
        "says: optimizer.lr = schedule(step)",
    ),
    (
        NET,
        "a, b = Net(), Net(); b.load_state_dict(a.state_dict())",
        "np.allclose(a.fc1.weight.numpy(), b.fc1.weight.numpy())",
    ),
    (
        NET,
        """
net = Net()
tg.save(net.state_dict(), folder + '/net.pt')
net.load_state_dict(tg.load(folder + '/net.pt'))
""",
        "says: model.save(path)",
    ),
    (
        NET + BATCH,
        """
net = Net()
seen = []
h = net.fc1.register_forward_hook(lambda m, i, o: seen.append(o.shape))
net(x)
h.remove()
""",
        "seen == [(5, 8)]",
    ),
    (NET + BATCH, "net = Net().eval().to('cpu'); net.train(); net.zero_grad()", "says: leave the call out"),
    ("", "nn.Embedding(10, 4)(tg.tensor([[1, 2], [3, 4]]))", "_.shape == (2, 2, 4)"),
    ("", "nn.LayerNorm(4)(nn.Parameter(tg.ones(2, 4)))", "says: tg.randn(3, 4"),
    (GRADIENTS, "tg.einsum('ij,kj->ik', x, x)", "says: tg.ops.einsum"),
    (GRADIENTS, "print(x)", "'requires_grad' in said or 'grad' in said"),
]
NUMPY = [
    (VALUES, "x.sum(0)", "_.shape == (3,)"),
    (VALUES, "x.mean(axis=(0, 1), keepdims=True)", "_.shape == (1, 1)"),
    (VALUES, "x.max(-1)", "_.shape == (2,)"),
    (VALUES, "np.asarray(x)", "says: tensor.numpy()"),
    (VALUES, "np.testing.assert_allclose(x, np.arange(6.0).reshape(2, 3))", "says: tensor.numpy()"),
    (VALUES, "np.exp(x)", "says: tensor.exp(...)"),
    (VALUES, "np.sum(x, axis=1)", "says: tensor.sum(...)"),
    (VALUES, "np.ones((2, 3)) * x", "isinstance(_, tg.Tensor)"),
    (VALUES, "np.float64(2.0) * x + np.ones(3)", "isinstance(_, tg.Tensor)"),
    (VALUES, "x[0, 1:], x[..., -1], x[:, None], x[[0, 1], [1, 2]], x[::-1]", "_[3].shape == (2,)"),
    (VALUES, "x[x > 2]", "_.shape == (3,)"),
    (VALUES, "x[np.array([0, 1, 1])]", "_.shape == (3, 3)"),
    (VALUES, "f'{x.sum():.2f}'", "_ == '15.00'"),
    (VALUES, "f'{x.mean().item():8.3f} {float(x[0, 0])} {int(x[1, 0])}'", "'2.500' in _"),
    (VALUES, "len(x), x.ndim, x.size, x.dtype, x.nbytes", "_[2] == 6"),
    (
        VALUES,
        """
for row in x:
    row.tolist()
""",
        "row.shape == (3,)",
    ),
    (VALUES, "x.astype(np.float32)", "_.dtype == np.float32"),
    (VALUES, "x.astype('float16').dtype", "_ == np.float16"),
    (VALUES, "x.reshape(-1, 2).transpose(1, 0).swapaxes(0, 1).flatten().ravel()", "_.shape == (6,)"),
    (VALUES, "tg.ops.concatenate([x, x], axis=1)", "_.shape == (2, 6)"),
    (VALUES, "np.concatenate([x, x])", "says: tg.ops.concatenate(...)"),
    (VALUES, "x.std(axis=0), x.var(), x.cumsum(axis=1), x.prod(), x.clip(0, 1)", "_[2].shape == (2, 3)"),
    (VALUES, "tg.where(x > 1, x, 0.0)", "says: tg.ops.where"),
    (VALUES, "x.argsort(axis=-1), x.argmax(), x.min(), x.any(), x.all()", "int(_[1]) == 5"),
    (VALUES, "x @ np.ones((3, 4)), np.ones((4, 2)) @ x, x.dot(x.T)", "_[1].shape == (4, 3)"),
    (VALUES, "(x == x).all() and bool((x > -1).all())", "bool(_)"),
    (VALUES, "x[0] = 7.0", "says: tensor.at(index).set(value)"),
    (VALUES, "x += 1; x *= 2", "float(plain(x)[0, 0]) == 2.0"),
    (VALUES, "np.linalg.norm(x)", "says: tensor.norm(...)"),
    (VALUES, "tg.Tensor([[1, 2], [3, 4]]).dtype", "'int' in str(_)"),
    (VALUES, "tg.zeros((2, 3)), tg.ones_like(x), tg.linspace(0, 1, 5), tg.eye(3)", "_[2].shape == (5,)"),
    (VALUES, "np.allclose(x.numpy(), x), x.copy()", "says: the tensor's own operations"),
    (VALUES, "abs(x), -x, x ** 0.5, 1 / (x + 1), x // 2, x % 2, divmod", "_[0].shape == (2, 3)"),
    (
        VALUES,
        """
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
plt.plot(x[0], x[1])
plt.close()
""",
        "says: tensor.numpy()",
    ),
    (
        VALUES,
        """
import pickle, copy
pickle.loads(pickle.dumps(x))
copy.deepcopy(x)
""",
        "_.shape == (2, 3)",
    ),
]
TRANSFORMERS = [
    (MODEL, "ids = tokenizer.encode('To be'); tokenizer.decode(ids)", "_ == 'To be'"),
    (MODEL, "tokenizer('To be')", "says: tokenizer.encode(text)"),
    (MODEL, "tokenizer.encode_batch(['To be', 'or not to be, that'])", "len(_) == 2"),
    (MODEL, "[tokenizer.decode([i]) for i in tokenizer.encode('To be')]", "''.join(_) == 'To be'"),
    (MODEL, "len(tokenizer), tokenizer.vocab_size", "_[0] == _[1]"),
    (MODEL, "tokenizer.decode(np.array(tokenizer.encode('To be')))", "_ == 'To be'"),
    (
        MODEL,
        """
tokenizer.save(folder + '/tokenizer.json')
tg.Tokenizer.load(folder + '/tokenizer.json').encode('To be')
""",
        "_ == tokenizer.encode('To be')",
    ),
    (MODEL, "tg.Tokenizer.from_file(folder + '/tokenizer.json')", "says: tg.Tokenizer.load(path)"),
    (MODEL, "network([[1, 2, 3]])", "_.shape[:2] == (1, 3)"),
    (MODEL, "network(tg.tensor([[1, 2, 3]])).shape", "_[:2] == (1, 3)"),
    (
        MODEL,
        "network.loss([[1, 2, 3]], [[2, 3, 4]]).backward()",
        "any(p.grad is not None for p in network.parameters())",
    ),
    (MODEL, "model.generate('To be', max_new_tokens=5)", "says: max_tokens"),
    (
        MODEL,
        "model.generate('To be', max_tokens=5, temperature=0.8, top_k=20, top_p=0.9, seed=1)",
        "isinstance(_, str)",
    ),
    (MODEL, "model.generate('To be', max_tokens=5, do_sample=False)", "says: temperature=0"),
    (MODEL, "model.generate('To be', max_tokens=5, num_beams=3)", "says: model.beam_search(prompt, beams=…)"),
    (MODEL, "model.generate('To be', max_tokens=30, stop=['.', '\\n'])", "isinstance(_, str)"),
    (MODEL, "model.generate(['To be', 'or not'], max_tokens=5)", "says: generate_batch"),
    (
        MODEL,
        """
for piece in model.stream('To be', max_tokens=5):
    print(piece, end='')
""",
        "len(said) > 0",
    ),
    (MODEL, "model.generate('To be', max_tokens=5, repetition_penalty=1.2, min_p=0.05)", "isinstance(_, str)"),
    (MODEL, "model.generate(tokenizer.encode('To be'), max_tokens=5)", "says: tokenizer.decode(ids)"),
    (MODEL, "d = model.next_token('To be'); d.top(5); print(d)", "len(said) > 20"),
    (MODEL, "model.perplexity('To be, or not to be, that is the question.')", "float(_) > 1"),
    (MODEL, "model.log_prob('To be', ' or not')", "says: model.log_probabilities(text)"),
    (
        MODEL,
        """
model.save(folder + '/m')
tg.load(folder + '/m').generate('To be', max_tokens=3, seed=1)
""",
        "says: model.export(folder)",
    ),
    (
        MODEL,
        """
network.save(folder + '/n')
tg.Transformer.load(folder + '/n').config
""",
        "_ == config",
    ),
    (MODEL, "model.save_pretrained(folder + '/m')", "says: model.export(folder)"),
    (MODEL, "tg.LanguageModel.from_pretrained('gpt2')", "says: tg.load(name)"),
    (MODEL, "model.eval(); model.to('cpu')", "says: there is no mode"),
    (
        MODEL,
        """
tg.lora(model, rank=4)
sum(p.size for p in network.parameters() if p.requires_grad)
""",
        "0 < _ < 20000",
    ),
    (MODEL, "tg.AdamW(network, lr=3e-4), tg.AdamW(network.parameters(), lr=3e-4)", "True"),
    (
        MODEL,
        "print(model); print(config); print(tokenizer); print(network)",
        "len(said) < 6000 and '<tinygrad_llm' not in said and ' object at 0x' not in said",
    ),
    (
        MODEL,
        "model.chat([{'role': 'user', 'content': 'Hello'}], max_tokens=5)",
        "says: tg.ChatSession(model).say(text)",
    ),
    (MODEL, "tg.load('no-such-model')", "says: no-such-model"),
    (MODEL, "tg.load('smollm2-135m-instruc')", "says: smollm2-135m-instruct"),
]
COMMANDS = [
    ("train corpus.txt --steps 10 --out run --layers 1 --width 16 --heads 1 --context 16 --vocab-size 280", "True"),
    ("train corpus.txt --epochs 1 --lr 3e-4", "says: --steps"),
    ("generate no-such-run Hello", "says: no-such-run"),
    ("--help", "'generate' in said and 'train' in said"),
    ("--version", "len(said) > 0"),
]


def execute(source, variables):
    """Run a block; return the value of its last expression."""
    tree = ast.parse(source.strip("\n"))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<line>", "exec"), variables)
    return None if last is None else eval(compile(ast.Expression(last.value), "<line>", "eval"), variables)


def plain(x):
    return x.numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


@pytest.mark.parametrize(("setup", "line", "expected"), [*PYTORCH, *NUMPY, *TRANSFORMERS])
def test_a_line(setup, line, expected, tmp_path):
    variables = {"tg": tg, "np": np, "nn": nn, "F": F, "optim": optim, "plain": plain, "folder": str(tmp_path)}
    variables["__name__"] = "everyday"
    execute(setup, variables)
    printed = io.StringIO()
    if expected.startswith("says: "):
        with pytest.raises((AttributeError, TypeError, ValueError), match=re.escape(expected[6:])):
            execute(line, variables)
        return
    with contextlib.redirect_stdout(printed):
        variables["_"] = execute(line, variables)
    variables["said"] = printed.getvalue()
    assert eval(expected, variables)


@pytest.mark.parametrize(("line", "expected"), COMMANDS)
def test_a_command(line, expected, tmp_path):
    (tmp_path / "corpus.txt").write_text("To be, or not to be, that is the question.\n" * 400)
    path = {**os.environ, "PYTHONPATH": str(Path(tg.__file__).parents[1]), "TERM": "dumb"}
    command = [sys.executable, "-m", "tinygrad_llm", *line.split()]
    done = subprocess.run(command, cwd=tmp_path, text=True, stdout=-1, stderr=subprocess.STDOUT, env=path)
    said = done.stdout
    if expected.startswith("says: "):
        assert done.returncode == 2 and expected[6:] in said and "Traceback" not in said, said
    else:
        assert done.returncode == 0 and eval(expected, {"said": said}), said

"""A worker of `DataParallel`: a process that computes the gradients of its part of every batch until the pipe closes.

    python -m tinygrad_llm.training.worker '{"memory": …, "layout": …, "rank": …}'

It reads one line per batch from its standard input and answers with one line, its loss. Everything large lies in the
memory that it shares with the process that started it.

Builds on: `data_parallel`.
"""

import json
import sys
from typing import Any

from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.data_parallel import Layout, add_gradients
from tinygrad_llm.training.flat import FlatParameters


def main(job: dict[str, Any]) -> None:
    """Work until the pipe is closed, or nobody is there to read the answer."""
    layout = Layout.from_dict(job["layout"])
    rank, arrays = job["rank"], layout.map(job["memory"])
    model = Transformer(layout.config)
    parameters = dict(model.named_parameters())
    flat = FlatParameters({name: parameters[name] for name in layout.names})
    flat.move_to(arrays.values, arrays.gradients[rank])
    for line in sys.stdin:
        task = json.loads(line)
        if task["begins"]:
            flat.zero_grad()
        ids, targets = arrays.ids[rank, : task["rows"]], arrays.targets[rank, : task["rows"]]
        loss = add_gradients(model, ids, targets, task["seed"])
        flat.collect()
        flat.zero_missing()
        try:
            print(repr(loss), flush=True)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""A helper of the crew: a process that computes gradients for its share of every batch until nobody asks any more.

    python -m tinygrad_llm.training.helper '{"memory": …, "layout": …, "member": …}'

It reads one line per batch from its standard input and answers with one line, its loss. Everything large lies in the
memory that it shares with the process that started it (`parallel`).
"""

import json
import sys
from typing import Any

from tinygrad_llm.nn.transformer import Transformer
from tinygrad_llm.training.flat import FlatParameters
from tinygrad_llm.training.parallel import Layout, share_of_gradients


def main(job: dict[str, Any]) -> None:
    """Work until the pipe is closed, or nobody is there to read the answer."""
    layout = Layout.from_dict(job["layout"])
    member, arrays = job["member"], layout.map(job["memory"])
    model = Transformer(layout.config)
    flat = FlatParameters(model)
    flat.move_to(arrays.values, arrays.gradients[member])
    for line in sys.stdin:
        task = json.loads(line)
        if task["begins"]:
            flat.zero_grad()
        ids, targets = arrays.ids[member, : task["rows"]], arrays.targets[member, : task["rows"]]
        loss = share_of_gradients(model, ids, targets, task["seed"])
        flat.collect_gradients()
        try:
            print(repr(loss), flush=True)
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""From tokens to vectors to logits: the formulas in `functional`, the modules that hold parameters, the Transformer."""

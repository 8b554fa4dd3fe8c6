"""Pictures of what the model computes: in the terminal, in a notebook, as plain text."""

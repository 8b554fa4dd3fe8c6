"""The command `tinygrad-llm`: one file per command. A user's mistake ends in one sentence, never in a traceback."""

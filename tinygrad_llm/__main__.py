"""`python -m tinygrad_llm`: the command `tinygrad-llm` under another name."""

from tinygrad_llm.cli.main import main

if __name__ == "__main__":
    main()

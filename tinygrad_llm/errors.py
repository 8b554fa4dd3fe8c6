"""Two kinds of failure, each a sentence that says what was wrong and what to do.

`InputError`: the user asked for something that cannot be done; the command line exits with 2.
`MachineError`: the machine failed (disk, network, a damaged download); the command line exits with 1.

Both are shown on the command line without a traceback. Anything else that is raised is a bug of this project.
"""


class InputError(ValueError):
    """A mistake in what was asked. The message names the argument, what it was and what to do."""


class MachineError(RuntimeError):
    """A failure outside the program: disk full, no network, a file that cannot be written."""

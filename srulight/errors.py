"""Errors that are the user's to mend."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is a sentence that stands alone: what was expected, what came, where (file and line,
    or setting), and what to do. The command line prints it without a traceback.
    """

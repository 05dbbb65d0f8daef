"""What a user did that the pipeline cannot go on with."""


class InputError(Exception):
    """One sentence for the user: it names the file, key or class at fault and the way out.

    The stages and the command line print it and exit with status 1, without a traceback.
    """

"""What a user did wrong, said in one line."""


class UserError(Exception):
    """A wrong name, value or file. The message names the thing, what it was and what is allowed.

    The command line prints it without a traceback and exits with code 2; a node logs it and refuses to start.
    """

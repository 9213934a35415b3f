"""What a user can mend: errors whose one line says how."""


class Failure(Exception):
    """An error whose one-line message tells a user what to do; the command line prints only it."""

    exit_code = 1


class UsageError(Failure):
    """The command, the configuration or the data cannot be used as given."""

    exit_code = 2


class Unsupported(UsageError):
    """An encoder was asked for something that its architecture cannot do."""

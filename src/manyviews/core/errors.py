"""What a user can mend: errors whose one line says how."""

import errno


class Failure(Exception):
    """An error whose one-line message tells a user what to do; the command line prints only it."""

    exit_code = 1


class UsageError(Failure):
    """The command, the configuration or the data cannot be used as given."""

    exit_code = 2


class Unsupported(UsageError):
    """An encoder was asked for something that its architecture cannot do."""


def out_of_memory(error: BaseException) -> str:
    """What to do where memory ran out, on the GPU or elsewhere; "" for any other error."""
    said = str(error)
    ran_out = (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, of a GPU
        or (isinstance(error, RuntimeError) and "can't allocate memory" in said)  # torch's, else
    )
    if not ran_out:
        return ""
    return (
        "Not enough memory. Use a smaller --data.batch-size, fewer --data.workers, a smaller "
        "encoder or smaller widths of --method, or give this process more (ulimit -v, the "
        "container's or the job's limit)."
    )

"""What went wrong, in one sentence for a person; and the one place that prints it."""

import sys
from collections.abc import Callable
from typing import NoReturn


class Trouble(Exception):
    """One sentence: what is wrong, where, and what to do instead."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def command(main: Callable[[], int]) -> NoReturn:
    """Run an operator's command: its exit code, or the sentence of its Trouble on standard error."""
    try:
        code = main()
    except Trouble as trouble:
        sys.stdout.flush()
        print(f"error: {trouble}", file=sys.stderr)
        code = trouble.code
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C; run the same command again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        code = 141
    sys.exit(code)

"""The container's health check: `python -m librarian.health` fails unless both stores answer the application."""

import sys
import urllib.error
import urllib.request

from .__main__ import PORT


def main() -> int:
    """0 where all is well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=7) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        print(error.read().decode())
    except OSError as error:
        print(f"no answer: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

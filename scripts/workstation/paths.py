"""Where things are: the checkout, what is made at run time (.state), and what is kept between checkouts (the cache)."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("CDP_STATE_DIR") or ROOT / ".state").resolve()
CACHE = Path(os.environ.get("CDP_CACHE_DIR") or Path.home() / ".cache" / "central-data-platform").resolve()
LOGS = STATE / "logs"
VENV = ROOT / ".venv"

"""The policy pack as the engine starts it: a server of rules."""

import sys
from pathlib import Path

# Started by its folder, not as a module of the project.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from policy.pack import serve

serve()

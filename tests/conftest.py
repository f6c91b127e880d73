"""Makes the helpers in this folder importable by the tests of every folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

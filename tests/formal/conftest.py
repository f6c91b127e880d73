"""Makes ``prove`` importable by the proofs, whichever folder pytest starts in."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

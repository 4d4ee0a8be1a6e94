"""The stubs and the world of this folder can be imported, by tests and by names in protocols."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for place in (HERE, HERE.parent):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))

"""`make bench`: measure the official broker and ours in turn (`--help` for the options)."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, for bench and interop

from bench.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())

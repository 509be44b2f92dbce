"""Train and evaluate a model, as ``recbole-ext run`` does."""

import sys

from recbole_ext.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["run", *sys.argv[1:]]))

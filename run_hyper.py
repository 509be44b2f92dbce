"""Search hyper-parameters, as ``recbole-ext search`` does."""

import sys

from recbole_ext.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main(["search", *sys.argv[1:]]))

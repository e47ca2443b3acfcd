"""Paint films: `python infer.py film.mp4 --style starry_night`; `--help` lists the options."""

import sys

from fastvid.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())

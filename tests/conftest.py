"""One thread per test process: the pictures are tiny, and waiting threads cost more."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

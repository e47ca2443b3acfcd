"""One thread per test process: the pictures are tiny, and waiting threads cost more."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that puts the tests into the background makes them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

"""Imported by Python at its start when it is on PYTHONPATH: this process's clock is another."""

import os
import time

_AHEAD_NS = int(os.environ["CLOCK_AHEAD_S"]) * 1_000_000_000
_time_ns = time.time_ns

time.time_ns = lambda: _time_ns() + _AHEAD_NS
time.time = lambda: (_time_ns() + _AHEAD_NS) / 1e9

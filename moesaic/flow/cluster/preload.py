"""Loaded by the workers that this program starts: Ctrl-C is for the process that started them, which ends them."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)

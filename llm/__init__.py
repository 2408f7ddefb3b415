"""Models that answer customers: one adapter for each API, the prompt, the window on the past.

All implement ``batching.ports.Model``. A call has no side effect but its cost, so whatever may
pass is a TransientError and is tried again; only our own faults, a refused key and an empty
purse are permanent.
"""

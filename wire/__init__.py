"""One careful HTTP call: one deadline, one connection, a bounded answer, and what is certain.

It knows neither channels nor models: whoever calls says what a failure means.
"""

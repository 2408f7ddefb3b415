"""Everything on one machine, for a newcomer: ``python -m demo``. No account, no key, no server."""

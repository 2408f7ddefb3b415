"""The whole service on one machine: ``python -m demo``. No account, no key, no server needed."""

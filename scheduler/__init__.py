"""The scheduler process: poll the ledger many times a second, enqueue a flush when one is due."""

"""APScheduler: looks at the ledger many times a second and rings where something is due."""

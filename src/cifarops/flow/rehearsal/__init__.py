"""The whole branch process, played for real on one machine: no server, no network."""

"""Environments: what runs where, promotion, rollback, and the watch over a fresh version."""

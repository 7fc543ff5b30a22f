"""Durable state: SQLite in a file by default, PostgreSQL by URL. Knows tables and rows, not rooms."""

"""The `sfu` command: one module for each sub-command, with `NAME`, `HELP`, `configure` and `run`."""

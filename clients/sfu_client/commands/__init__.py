"""The client's commands, for the `sfu` command line: each has `NAME`, `HELP`, `configure` and `run`."""

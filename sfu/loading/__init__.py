"""The configuration's way in and out: read from file, environment and command line, checked, and shown."""

"""The browser SDK: signalling, transports, statistics; no DOM."""

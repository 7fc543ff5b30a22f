"""The media engine, sans-IO: everything that happens to packets, and the policy that steers it."""

"""What benches of forwarding share: packets, the server in a process of its own, and who sends to it."""

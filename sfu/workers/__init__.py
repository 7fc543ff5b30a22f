"""Programs that the server starts as processes of their own, for work that may cost too much or crash."""

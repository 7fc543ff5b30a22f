"""The HTTP API below `/api/v1`: each module declares its endpoints, `routes` serves and documents them."""

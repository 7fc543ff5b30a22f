"""The page of the HTTP API, made from its OpenAPI document."""

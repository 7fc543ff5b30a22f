"""SDP: parsing and negotiation as functions over plain data."""

"""The UDP and TCP port, ICE-lite, DTLS and data channels. The only importer of aiortc."""

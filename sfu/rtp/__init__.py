"""RTP, RTCP and payload descriptors: pure wire formats."""

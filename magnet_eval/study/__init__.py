"""Listening tests: from the clips of finished runs to a blinded packet, its answers, and what they say."""

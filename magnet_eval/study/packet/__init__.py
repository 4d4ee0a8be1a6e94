"""From finished runs to a blinded packet: prompts, sounds, orders, ids, the key, and the leak check."""

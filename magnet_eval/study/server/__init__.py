"""The server of a listening test, what it stores, and synthetic raters who take part through it."""

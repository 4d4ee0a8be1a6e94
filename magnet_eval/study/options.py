"""What the actions of the verb ``study`` understand: one dataclass per action, whose fields are its options."""

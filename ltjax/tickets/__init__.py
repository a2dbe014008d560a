"""A ticket of a network of the user's own: made, verified, stored and told."""

"""Training on several processes: each test starts its own, with a time-out, and ends all of them."""

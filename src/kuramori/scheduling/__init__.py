"""When things are due, and the daemon that does them."""

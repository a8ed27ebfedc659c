"""What `fanin` does besides serving: demo, reproduce, doctor."""

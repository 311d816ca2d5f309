"""How work is spread over threads, memory and time."""

"""The soak of failing handlers: each request is answered, dead-lettered or expired."""

"""Pages and figures made of finished runs."""

"""All recipes: what every way of quantizing does to invariance."""

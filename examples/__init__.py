"""Three APIs that limit their callers as three well-known ones document it, and a demo that drives them past it."""

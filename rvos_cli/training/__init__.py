"""Training: data made of real media, the two-stage recipe, the loop; nothing of it is needed to use weights."""

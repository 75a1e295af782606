"""Real broker processes that are killed and stopped under load. `RMQD_PROOF=soak` runs the long sizes."""

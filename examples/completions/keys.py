"""The API keys of this example. They are public and open nothing else; `ratelimit.toml` has only their SHA-256."""

STUDENT = "cm_student_demo"  # on the free tier
STUDIO = "cm_studio_demo"  # the organization studio, on the build tier
STUDIO_BATCH = "cm_studio_batch_demo"  # its second key: the same tokens

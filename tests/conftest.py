"""What holds for every test."""

from hypothesis import settings

# Time is not what properties are about, and a busy machine is no fault of the code; pytest-timeout bounds
# them. In CI, Hypothesis' own profile says the same and draws the same examples each time.
if settings.get_current_profile_name() != "ci":
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")

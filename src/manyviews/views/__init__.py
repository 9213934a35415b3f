"""A sample becomes views and cues: parameters are drawn, streams are cut, masks are chosen."""

"""The bijector checker on maps of other libraries, and on maps that are wrong on purpose."""

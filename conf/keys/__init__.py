"""The options themselves: one class for each configuration object of the official servers, as of 5.5.0."""

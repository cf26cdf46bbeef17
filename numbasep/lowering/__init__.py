"""From a filter and a memory layout to the passes that compute it: plain integers, no compiler."""

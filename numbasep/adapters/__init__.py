"""Arrays of other libraries: each module takes calls over for one kind, see `numbasep.arguments.dispatch`."""

"""The steps of the merge: objects of the lake in, staging files and reports out; they never see the warehouse."""

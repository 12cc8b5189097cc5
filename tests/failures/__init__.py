"""The ways in which an update can fail, each tried in each kind of program (`./kit failures`)."""

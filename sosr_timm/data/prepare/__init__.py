"""From official archives to a checked directory that a run can open by name: `sosr-data prepare`."""

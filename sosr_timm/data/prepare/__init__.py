"""From official archives to a checked folder that a run can open by name: `sosr-data prepare`."""

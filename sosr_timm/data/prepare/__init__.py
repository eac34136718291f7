"""From official archives to a checked folder that a run can open by name: `python -m sosr_timm.data prepare`."""

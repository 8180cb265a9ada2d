"""What `radkit.data.augment` is made of: draws, moves in space, changes of intensity, mixing."""

"""What a page of a data set shows: simple features of images, their projections, groups, and facts for a datasheet."""

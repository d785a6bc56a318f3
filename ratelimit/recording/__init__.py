"""The log that a middleware writes itself where its policy has `[record]`: what `simulate` needs to be exact."""

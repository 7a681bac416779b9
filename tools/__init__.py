"""What only this repository needs: nothing here is installed or part of an image."""

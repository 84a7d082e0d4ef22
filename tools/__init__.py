"""What is made from the code: pages of the reference, catalogues, pictures. Not part of the program."""
